"""One connection's place in one channel, from the reserved name to the announced end."""

from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple, Protocol

from gevent.event import Event as Flag

from chat.closing import GONE, INTERNAL, KICKED, REPLACED, Closing
from chat.conn import DirectConn
from chat.errors import ChannelClosed, UserAlreadyConnected
from chat.event import User
from chat.requests import Request
from chat.tokens import Grant

ACTIONS: Final = frozenset({"list", "join", "publish", "whisper", "edit", "delete", "history", "create", "moderate"})
EVERYBODY: Final = ACTIONS - {"moderate"}  # what users may do when nobody says otherwise
OF_ONE: Final = (KICKED, REPLACED)  # they end one member; of all else one is told on coming again


class State(Enum):
    """Where a member stands."""

    RESERVED = "reserved"  # the name is taken, the connection is not there yet
    JOINING = "joining"  # connected, waiting for its turn in the channel
    LIVE = "live"  # listed; hears and speaks
    LEAVING = "leaving"  # hears and speaks no more; the channel has not said so yet
    GONE = "gone"


class Step(Enum):
    """What can happen to it."""

    CONNECTED = "connected"
    WELCOMED = "welcomed"
    DROPPED = "dropped"
    ANNOUNCED = "announced"


# DROPPED is legal everywhere: the network needs no permission.
TRANSITIONS: Final[Mapping[State, Mapping[Step, State]]] = {
    State.RESERVED: {Step.CONNECTED: State.JOINING, Step.DROPPED: State.GONE},
    State.JOINING: {Step.WELCOMED: State.LIVE, Step.DROPPED: State.LEAVING},
    State.LIVE: {Step.DROPPED: State.LEAVING},
    State.LEAVING: {Step.DROPPED: State.LEAVING, Step.ANNOUNCED: State.GONE},
    State.GONE: {Step.DROPPED: State.GONE},
}


class IllegalStep(RuntimeError):
    """A step that the table does not know: a fault in this package."""

    def __init__(self, state: State, step: Step) -> None:
        super().__init__(f"a member that is {state.value} cannot be {step.value}")


def next_state(state: State, step: Step) -> State:
    """Look the step up.  Raises: IllegalStep."""
    try:
        return TRANSITIONS[state][step]
    except KeyError:
        raise IllegalStep(state, step) from None


class Home(Protocol):
    """What a member needs of its channel."""

    def receive(self, member: "Member", request: Request) -> None:
        """The member asks for something.  Never yields."""

    def enter(self, member: "Member", *, wait: bool) -> None:
        """Let a connected member in.  Blocks when asked to wait until it is listed."""

    def lost(self, member: "Member") -> None:
        """The member's connection has ended.  Never yields."""

    def flush(self) -> None:
        """Return when all that was said is heard.  Blocks."""


class Resume(NamedTuple):
    """Where a returning client stopped."""

    epoch: str
    offset: int
    limit: int
    """Events that may be sent again at most; when it missed more, none are."""


class Member:
    """One connection in one channel.  `conn` is there from JOINING on."""

    __slots__ = ("_closing", "_ended", "_home", "conn", "grant", "id", "queued", "resume", "rights", "state")

    conn: DirectConn

    def __init__(self, id: str, grant: Grant, home: Home, rights: frozenset[str] = EVERYBODY) -> None:
        self.id = id
        self.grant = grant
        self.rights = rights
        self.resume: Resume | None = None
        self.state = State.RESERVED
        self.queued = 0  # its messages in the channel's inbox
        self._home = home
        self._ended: Flag | None = None
        self._closing: Closing | None = None  # why it alone was dropped, before there was a connection

    @property
    def user(self) -> User:
        """The user as other members see them."""
        return self.grant.user

    @property
    def username(self) -> str:
        return self.grant.username

    def step(self, step: Step) -> None:
        """Move on.  Raises: IllegalStep, and then nothing has changed."""
        self.state = next_state(self.state, step)
        if self._ended is not None and self.state in (State.LEAVING, State.GONE):
            self._ended.set()

    def join(self, conn: DirectConn, *, wait: bool = False, resume: Resume | None = None) -> None:
        """Enter the channel over `conn`; with `wait`, return once the user is listed.

        Who was removed or replaced since the name was reserved is told so as if the connection had been there; or, with
        `wait`, by an exception.
        Raises: UserAlreadyConnected, ChannelClosed, IdleChannel; then the name is free again and `conn` is left open.
        """
        if self.state is State.GONE:
            if self._closing is None or wait:
                channel = self.grant.channel
                raise UserAlreadyConnected(self.username, channel) if self._closing == REPLACED else ChannelClosed(channel)
            conn.close(*self._closing)
            return
        self.step(Step.CONNECTED)
        self.conn = conn
        self.resume = resume
        self._home.enter(self, wait=wait)

    def cancel(self) -> None:
        """Give the reserved name back: there will be no connection.  Never yields; idempotent."""
        if self.state is State.RESERVED:
            self.step(Step.DROPPED)
            self._home.lost(self)

    def start(self) -> None:
        """Begin to listen to the connection.  Never yields."""
        self.conn.start(self._heard, self._gone)

    def flush(self) -> None:
        """Return when what it has asked for is done, and answered.  Blocks."""
        self._home.flush()

    def drop(self, closing: Closing) -> None:
        """End the connection from our side.  Never yields; idempotent."""
        if self.state is State.RESERVED:
            self._closing = closing if closing in OF_ONE else None
            self.cancel()
        elif self.state in (State.JOINING, State.LIVE):
            self._gone(closing)
            self.conn.close(closing.code, closing.reason)

    def give_up(self) -> None:
        """Whoever joined it does not wait any longer.  A connection that has not gone live is left open."""
        if self.state is State.JOINING:
            self._gone()
        else:
            self.drop(INTERNAL)

    def wait(self) -> None:
        """Return when the connection has ended, and what was queued for it is sent or given up.  Blocks."""
        if self._ended is None:
            self._ended = Flag()
        while self.state not in (State.LEAVING, State.GONE):
            self._ended.wait()
        if hasattr(self, "conn"):  # not one that was only reserved
            self.conn.wait_closed()

    def _heard(self, request: Request) -> None:
        if self.state is State.LIVE:
            self._home.receive(self, request)

    def _gone(self, _closing: Closing = GONE) -> None:
        if self.state in (State.JOINING, State.LIVE):
            self.step(Step.DROPPED)
            self._home.lost(self)
