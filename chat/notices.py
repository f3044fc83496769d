"""What is told when somebody comes or goes."""

from collections.abc import Callable

from chat.clock import Clock
from chat.crowd import LARGE, LISTED, Crowd, period
from chat.errors import HookFailed
from chat.event import Joined, Left, Presence, User
from chat.hooks import Hooks
from chat.restricted import RestrictedChatChannel, Speech


class Notices:
    """The notices of one channel.

    A controller's hook replaces the line that plain clients see, never chat.v1's own event.
    """

    def __init__(
        self,
        channel: Speech,
        hooks: Hooks,
        clock: Clock,
        *,
        count: Callable[[], int],
        untold: Callable[[], int],
        fold: Callable[[], None],
        others_tell: bool = False,
    ) -> None:
        """`untold` is how many are on their way to be told; `fold` is called in the hub when a folded one is due.

        `others_tell` says whether other processes do, of who comes to them and goes.
        """
        self._channel = channel
        self._hooks = hooks
        self._clock = clock
        self._count = count
        self._untold = untold
        self._fold = fold
        self._fold_is_due = False
        self._crowd = Crowd(others_tell=others_tell)

    def joined(self, user: User) -> Joined | None:
        """What to publish for a user who came; None when it is folded."""
        if self._is_crowded():
            self._crowd.join(user)
            self._fold_later()
            return None
        line = "" if self._hooks.greets else self._line(f"{user.username} entered {self._channel.name}!")
        return Joined(user, self._clock.now(), line, self._hooks.encodes)

    def renamed(self, before: User, user: User) -> Joined | None:
        """What to publish for a user who is here and has another display name, which plain clients do not see."""
        if self._is_crowded():
            self._crowd.rename(before, user)
            self._fold_later()
            return None
        return Joined(user, self._clock.now())

    def left(self, user: User) -> Left | None:
        """What to publish for a user who went; None when it is folded."""
        if self._is_crowded():
            self._crowd.leave(user)
            self._fold_later()
            return None
        line = "" if self._hooks.waves else self._line(f"{user.username} exited {self._channel.name}...")
        return Left(user.username, self._clock.now(), line, self._hooks.encodes)

    def folded(self) -> Presence | None:
        """What to publish when `fold` was called; None when all is as before, or as many as before wait to be told."""
        self._fold_is_due = False
        if self._untold() > LARGE:
            self._fold_later()
            return None
        if not self._crowd:
            return None
        came, here, went, gone = self._crowd.take()
        count = self._count()
        line = self._line(self._summary(len(came), len(went), count))
        names = tuple([*came, *here][:LISTED]), tuple([*went, *gone][:LISTED])
        return Presence(*names, count, self._clock.now(), line, self._hooks.encodes)

    def call_connected(self, username: str) -> None:
        """Run the application's hook.  May block."""
        self._hooks.connected(self._channel, username)

    def call_disconnected(self, username: str) -> None:
        """Run the application's hook.  May block."""
        self._hooks.disconnected(RestrictedChatChannel(self._channel), username)

    def _is_crowded(self) -> bool:
        return self._fold_is_due or self._count() > LARGE or self._untold() > LARGE

    def _fold_later(self) -> None:
        if not self._fold_is_due:
            self._fold_is_due = True
            self._clock.later(period(self._count()), self._fold)

    def _summary(self, came: int, went: int, count: int) -> str:
        """Without the part that a hook has spoken of."""
        told = [f"{came} entered"] if came and not self._hooks.greets else []
        if went and not self._hooks.waves:
            told.append(f"{went} exited")
        return f"{' and '.join(told)} {self._channel.name}, {count} are here" if told else ""

    def _line(self, text: str) -> str:
        """A notice as plain clients get it; "" when the encoder drops it, or fails."""
        if not text or not self._hooks.encodes:
            return text
        try:
            return self._hooks.encode(self._channel, self._clock.now(), text, "", "")
        except HookFailed:
            return ""
