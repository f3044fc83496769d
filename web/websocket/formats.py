"""How a channel's events look on a WebSocket: rendered once, framed once, for all members alike."""

from abc import abstractmethod
from collections.abc import Sequence
from weakref import WeakValueDictionary

from chat.event import Event
from chat.format import Format, plain_text
from chat.frames import Limits
from chat.wire import Dialect
from web.websocket.deflate import deflated_text_frame
from web.websocket.protocol import text_frame


class FramedFormat(Format):
    """One text frame an event."""

    __slots__ = ("__weakref__",)

    frame = staticmethod(text_frame)
    """Frames one text in UTF-8."""

    def encode(self, events: Sequence[Event]) -> bytes:
        frame = self.frame
        return b"".join([frame(data) for event in events if (data := self.render(event))])

    def encode_for_one(self, events: Sequence[Event]) -> bytes:
        # Never compressed (RFC 7692 section 6 allows it): a thousand missed events would hold up the hub for 40 to 110 ms.
        return b"".join([text_frame(data) for event in events if (data := self.render(event))])

    @abstractmethod
    def render(self, event: Event) -> bytes:
        """One event in UTF-8, b"" when it is not shown."""


class PlainFormat(FramedFormat):
    """Lines of text, for any client."""

    __slots__ = ()

    def render(self, event: Event) -> bytes:
        return plain_text(event).encode()


class DeflatedPlainFormat(PlainFormat):
    """The same, for sockets that agreed to compression."""

    __slots__ = ()
    frame = staticmethod(deflated_text_frame)


class V1Format(FramedFormat):
    """chat.v1, for the members of one channel."""

    __slots__ = ("_dialect", "channel")

    def __init__(self, channel: str, dialect: Dialect) -> None:
        self.channel = channel
        self._dialect = dialect

    def render(self, event: Event) -> bytes:
        return self._dialect.encode(event)


class DeflatedV1Format(V1Format):
    """The same, for sockets that agreed to compression."""

    __slots__ = ()
    frame = staticmethod(deflated_text_frame)


PLAIN = PlainFormat()
DEFLATED_PLAIN = DeflatedPlainFormat()


class V1Formats:
    """The format of each channel; kept as long as a connection has it, because a channel groups members by it."""

    def __init__(self, limits: Limits, ping: float) -> None:
        self._limits = limits
        self._ping = ping
        self._formats: WeakValueDictionary[tuple[str, bool], V1Format] = WeakValueDictionary()

    def of(self, channel: str, *, deflated: bool = False) -> V1Format:
        """The format for members of `channel`; another one for those whose sockets agreed to compression."""
        found = self._formats.get((channel, deflated))
        if found is None:
            kind = DeflatedV1Format if deflated else V1Format
            found = self._formats[channel, deflated] = kind(channel, Dialect(channel, self._limits, self._ping))
        return found
