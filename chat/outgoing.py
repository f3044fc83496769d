"""What a channel has gathered for the broker, and who is to hear of its fate.

Publishing may wait for a log, and must not keep the channel from its other work: whoever comes, goes or types has no
business with the log.  So it happens beside, in a `Lane`; typing, which keeps no order, has another one.
"""

from collections.abc import Callable, Sequence
from logging import Logger
from math import inf
from typing import Final

from gevent import Timeout
from gevent.event import AsyncResult

from chat.broker import Broker
from chat.changes import objection
from chat.clock import Clock
from chat.errors import BrokerUnavailable, ChannelClosed, ChatError, HookFailed, UserNotHere
from chat.event import NOTICES, Ack, Deleted, Edited, IsTyping, Published, Refusal
from chat.fanout import Fanout, Note
from chat.lane import Lane
from chat.member import Member
from chat.registry import ChannelRecord

REMINDER: Final = 10.0  # seconds between two lines in the log that tell the same
NOT_WORTH_A_WORD: Final = (BrokerUnavailable, ChannelClosed, HookFailed, UserNotHere)  # logged before, or of no account


class Said:
    """Something for the broker, and who wants to know what has become of it.

    `member` is answered when there is an `id`, and refused in any case; `done` gets the offset, or the error.
    """

    __slots__ = ("done", "event", "id", "is_settled", "member")

    def __init__(
        self, event: Published, member: Member | None = None, id: str = "", done: "AsyncResult[int] | None" = None
    ) -> None:
        self.event = event
        self.member = member
        self.id = id
        self.done = done
        self.is_settled = False


class Outgoing:
    """What is gathered, and what is under way.

    `on_settled` is called with those whose fate is known by now, `on_untold` when some did not hear who came or left.
    `window` is `ServerConf.edit_window`.
    """

    __slots__ = (
        "_broker",
        "_clock",
        "_complained",
        "_fanout",
        "_given_up",
        "_key",
        "_log",
        "_name",
        "_on_settled",
        "_on_untold",
        "_ordered",
        "_typing",
        "_window",
    )

    def __init__(
        self,
        record: ChannelRecord,
        broker: Broker,
        fanout: Fanout,
        clock: Clock,
        log: Logger,
        *,
        window: float,
        on_settled: Callable[[Sequence[Said]], None],
        on_untold: Callable[[], None],
    ) -> None:
        self._key = record.key
        self._name = record.name
        self._broker = broker
        self._fanout = fanout
        self._clock = clock
        self._log = log
        self._window = window
        self._on_settled = on_settled
        self._on_untold = on_untold
        self._given_up = False
        self._complained: dict[str, float] = {}  # of what, and when
        self._ordered: Lane[Said] = Lane(self._publish, waits=broker.waits, at_once=self._publish_at_once)
        if broker.waits:
            fanout.expect(self._ordered.wait_idle)
        self._typing: Lane[IsTyping] = Lane(self._say, waits=broker.waits)

    def __bool__(self) -> bool:
        """Whether something is gathered, or under way."""
        return bool(self._ordered)

    @property
    def may_grow(self) -> bool:
        """Whether the log may be growing by what is under way, given up or not."""
        return self._ordered.is_busy

    def add(self, said: Said) -> None:
        """Gather it for the next batch.  Never yields."""
        if self._given_up:
            self._settle([said], [BrokerUnavailable()])
        else:
            self._ordered.put(said)

    def tell(self, event: IsTyping) -> None:
        """Publish it now, whatever waits for the log.  Never yields."""
        if not self._given_up:
            self._typing.put(event)
            self._typing.go()

    def publish(self) -> None:
        """Have published what was gathered.  Never yields."""
        self._ordered.go()

    def flush(self) -> None:
        """Return when the fate of all that was gathered is known.  Blocks."""
        self._ordered.wait()

    def give_up(self) -> None:
        """Refuse what the log has not taken by now, and all that is still added.  Never yields; idempotent.

        A batch under way may be in the log nevertheless: whoever says it again by the same id says it once.  A broker that
        never waits is not given up.
        """
        if not self._broker.waits or self._given_up:
            return
        self._given_up = True
        left = [said for said in self._ordered.give_up() if not said.is_settled]
        if lost := sum(not isinstance(said.event, NOTICES) for said in left):
            self._log.error("channel %r: the log hangs, and what waits for it is given up: %d", self._name, lost)
        self._settle(left, [BrokerUnavailable()] * len(left))

    def answer(self, said: Said, fate: int | ChatError) -> None:
        """Tell whoever wants to know: the offset, 0 for what is not logged, or why it was not said.  Never yields."""
        if isinstance(fate, ChatError):
            self._answer_no(said, fate)
        elif said.done is not None:
            said.done.set(fate)
        elif said.member is not None and said.id:
            self._fanout.put(Note(said.member, Ack(said.id, fate or None)))

    def refuse(self, member: Member, id: str, error: ChatError) -> None:
        """Tell a member why something was not done, even without an `id`.  Never yields."""
        self._fanout.put(Note(member, Refusal(id, error.code, str(error), error.retry, self._clock.now())))

    def complain(self, error: ChatError) -> None:
        """Log it.  Never yields.

        While a log is away everybody says everything again, so that this is told once in a while only.
        """
        if isinstance(error, BrokerUnavailable):
            now, text = self._clock.monotonic(), str(error)
            if now - self._complained.get(text, -inf) < REMINDER:
                return
            self._complained[text] = now
        self._log.error("channel %r: %s", self._name, error)

    def _answer_no(self, said: Said, error: ChatError) -> None:
        if said.done is not None:
            said.done.set_exception(error)
        elif said.member is not None:
            self.refuse(said.member, said.id, error)
        elif not isinstance(error, NOT_WORTH_A_WORD):
            self._log.error("channel %r: %s", self._name, error)

    # In the lanes

    def _publish(self, batch: Sequence[Said]) -> None:
        """Publish it; whatever goes wrong, the fate of all of it is known at the end."""
        try:
            self._publish_parts(batch)
        except (Exception, Timeout) as exc:
            error = self._unavailable(exc)
            left = [said for said in batch if not said.is_settled]
            self._settle(left, [error] * len(left))

    def _publish_at_once(self, batch: Sequence[Said]) -> bool:
        """Publish it if that takes a moment only; otherwise nothing is settled.  Never yields."""
        if any(isinstance(said.event, Edited | Deleted) for said in batch):
            return False
        try:
            fates = self._broker.publish_at_once(self._key, [said.event for said in batch])
        except Exception:  # which the lane meets again
            return False
        if fates is not None:
            self._settle(batch, fates)
        return fates is not None

    def _publish_parts(self, batch: Sequence[Said]) -> None:
        """Publish it in as few parts as the edits and deletes in it allow: each is judged by what was said before."""
        part: list[Said] = []
        for said in batch:
            if isinstance(event := said.event, Edited | Deleted):
                if self._depends_on(event, part):
                    self._tell(part)
                    part = []
                if (fate := self._judge(said, event)) is not None:
                    self._settle([said], [fate])
                    continue
            part.append(said)
        self._tell(part)

    def _depends_on(self, event: Edited | Deleted, part: Sequence[Said]) -> bool:
        """Whether its message may be in `part`, or deleted there."""
        if event.target > self._broker.last(self._key):
            return True
        return any(isinstance(said.event, Deleted) and said.event.target == event.target for said in part)

    def _judge(self, said: Said, event: Edited | Deleted) -> int | ChatError | None:
        """What has become of a change that is not to be published; None when it is.  Blocks."""
        try:
            past = self._broker.find(self._key, event.target)
            error = objection(event, past, said.member.rights if said.member is not None else None, self._window)
            if error is None or not event.id:
                return error
            return self._broker.said(self._key, event.sender, event.id) or error  # said again, it finds its own work
        except (Exception, Timeout) as exc:
            return self._unavailable(exc)

    def _tell(self, part: Sequence[Said]) -> None:
        if self._given_up or not part:
            return
        fates = self._say([said.event for said in part])
        if not isinstance(fates, ChatError):
            self._settle(part, fates)
            return
        self._settle(part, [fates] * len(part))
        # Who comes and goes is true whatever was refused beside it; untold, they would be ghosts to everybody else.
        notices = [said.event for said in part if isinstance(said.event, NOTICES)]
        if 0 < len(notices) < len(part):
            fates = self._say(notices)
        if notices and isinstance(fates, BrokerUnavailable):
            self._on_untold()

    def _say(self, events: Sequence[Published]) -> Sequence[int | ChatError] | ChatError:
        """The fate of each, or of all."""
        try:
            return self._broker.publish(self._key, events)
        except (Exception, Timeout) as exc:
            return self._unavailable(exc)

    def _settle(self, part: Sequence[Said], fates: Sequence[int | ChatError]) -> None:
        settled = [said for said in part if not said.is_settled]  # the others were given up
        for said, fate in zip(part, fates, strict=True):
            if not said.is_settled:
                said.is_settled = True
                self._try_to_answer(said, fate)
        self._on_settled(settled)

    def _try_to_answer(self, said: Said, fate: int | ChatError) -> None:
        try:
            self.answer(said, fate)
        except (Exception, Timeout):
            self._log.exception("channel %r could not tell what has become of something", self._name)

    def _unavailable(self, exc: BaseException) -> ChatError:
        """Log what went wrong, and return what may be told of it."""
        if isinstance(exc, ChannelClosed):  # by another process, which has told its members
            return exc
        if isinstance(exc, ChatError):
            self.complain(exc)
            return exc
        self._log.error("channel %r could not do what it was asked", self._name, exc_info=exc)
        return BrokerUnavailable()
