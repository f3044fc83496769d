"""What a channel's greenlet has gathered for the broker, and who is to hear of its fate."""

from collections.abc import Sequence

from chat.broker import Broker
from chat.clock import Clock
from chat.errors import BrokerUnavailable, ChatError
from chat.event import Ack, Joined, Left, Presence, Published, Refusal
from chat.fanout import Fanout, Note
from chat.hooks import Hooks
from chat.member import Member


class Outgoing:
    """One batch under way."""

    __slots__ = ("_asked", "_broker", "_clock", "_events", "_fanout", "_hooks", "_key")

    def __init__(self, key: str, broker: Broker, fanout: Fanout, hooks: Hooks, clock: Clock) -> None:
        self._key = key
        self._broker = broker
        self._fanout = fanout
        self._hooks = hooks
        self._clock = clock
        self._events: list[Published] = []
        self._asked: list[tuple[Member, str, int]] = []  # member, its id for the request, index of the event

    def add(self, event: Published | None, asker: Member | None = None, id: str = "") -> None:
        """Put `event` into the batch; `asker` will get an ack, or a refusal, for its request `id`."""
        if event is None:
            return
        if asker is not None and id:
            self._asked.append((asker, id, len(self._events)))
        self._events.append(event)

    def answer(self, asker: Member | None, id: str, error: ChatError | None = None) -> None:
        """Tell of a request that puts nothing into the batch.  An `error` is told even without an id."""
        if asker is None:
            return
        if error is not None:
            self._fanout.put(Note(asker, Refusal(id, error.code, str(error), error.retry, self._clock.now())))
        elif id:
            self._fanout.put(Note(asker, Ack(id)))

    def publish(self) -> None:
        """Publish the batch, and begin the next.  Blocks.  Raises: what the broker raises, after all askers know."""
        events, asked = self._events, self._asked
        if not events:
            return
        self._events, self._asked = [], []
        try:
            offsets = self._tell(events)
        except Exception as exc:
            for asker, id, _ in asked:
                self.answer(asker, id, exc if isinstance(exc, ChatError) else BrokerUnavailable())
            # Who comes and goes is true whatever was refused beside it; untold, they would be ghosts to everybody else.
            notices = [event for event in events if isinstance(event, Joined | Left | Presence)]
            if 0 < len(notices) < len(events):
                self._tell(notices)
            raise
        for asker, id, index in asked:
            offset = offsets[index]
            if isinstance(offset, ChatError):
                self.answer(asker, id, offset)
            else:
                self._fanout.put(Note(asker, Ack(id, offset or None)))

    def _tell(self, events: Sequence[Published]) -> Sequence[int | ChatError]:
        return self._hooks.shield(lambda: self._broker.publish(self._key, events))
