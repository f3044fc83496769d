"""People in a channel, who speak and hear without a wire."""

from collections.abc import Callable
from itertools import count
from typing import Final

import gevent

from chat.channel import ChatChannel
from chat.closing import Closing
from chat.event import Edited, Event, Joined, Left, Message, Presence, Refusal, Whisper
from chat.format import plain_text
from chat.requests import Delete, Edit, Publish, Request
from chat.testing.conns import DirectFake, EventFormat
from chat.testing.turns import DEADLINE

_numbers: Final = count(1)


def enter(channel: ChatChannel, name: str, conn: DirectFake | None = None) -> "Person":
    """Let somebody in, over a conn of any kind with an `EventFormat`.  Raises: as `ChatChannel.connect_user`; TypeError."""
    conn = conn if conn is not None else DirectFake()
    if not isinstance(conn.format, EventFormat):
        raise TypeError(f"conn: one with an EventFormat is wanted, not {type(conn.format).__name__}")
    channel.connect_user(name, conn)
    return Person(channel, name, conn)


class Person:
    """Somebody in a channel.

    What they hear are lines as a plain client shows them, without the date: `ann: hello`, `ann entered lobby!`, `Not sent:
    ...`, or whatever the application's encoder makes of them.
    """

    def __init__(self, channel: ChatChannel, name: str, conn: DirectFake) -> None:
        self.channel = channel
        self.name = name
        self.conn = conn
        self._passed = 0  # events that `hears` has looked at

    def say(self, text: str) -> str:
        """Say `text` to everybody; return the id that it goes by."""
        return self._ask(lambda id: Publish(text, id=id))

    def whisper(self, text: str, to: str) -> str:
        """Say `text` to one user; return the id that it goes by."""
        return self._ask(lambda id: Publish(text, id=id, to=to))

    def edit(self, target: int, text: str) -> str:
        """Give the message at that offset another text; return the id that it goes by."""
        return self._ask(lambda id: Edit(target, text, id=id))

    def delete(self, target: int) -> str:
        """Take the message at that offset back; return the id that it goes by."""
        return self._ask(lambda id: Delete(target, id=id))

    def hears(self, line: str, *, kind: type[Event] | None = None, timeout: float = DEADLINE) -> Event:
        """Wait for that line, behind the one that was waited for last; return its event.

        `kind` tells a Whisper from a Message, which look alike.  Raises: AssertionError after `timeout` seconds.
        """
        with gevent.Timeout(timeout, False):  # type: ignore[arg-type]  # the stubs do not know False
            while True:
                if (found := self._find(line, kind)) is not None:
                    return found
                self.conn.wait_for_change()
        raise AssertionError(f"{self.name} has not heard {line!r}, but {self._lines()}")

    def heard(self, *, timeout: float = DEADLINE) -> list[str]:
        """All lines so far; what has been said is waited for, and what waits in a SlowConn: what is not here was not heard.

        That does not hold for one that reads nothing, stalled or vanished, nor for what the server makes others keep to
        themselves (`conn.unread`).  Raises: AssertionError after `timeout` seconds.
        """
        with gevent.Timeout(timeout, AssertionError(f"{self.name} does not come to the end of what is said")):
            while self.conn.unread and self.conn.closing is None:
                self.channel.flush()
            self.channel.flush()
            self.conn.wait_read()
        return self._lines()

    def wait_for_end(self, timeout: float = DEADLINE) -> Closing:
        """Why the connection was closed, once it was.  Raises: AssertionError after `timeout` seconds."""
        return self.conn.wait_for_end(timeout)

    def leave(self) -> None:
        """Hang up."""
        self.conn.hang_up()

    def _ask(self, request: Callable[[str], Request]) -> str:
        id = f"{self.name}-{next(_numbers)}"
        self.conn.ask(request(id))
        return id

    def _find(self, line: str, kind: type[Event] | None) -> Event | None:
        events = self.conn.events
        for number in range(self._passed, len(events)):
            event = events[number]
            if line_of(event) == line and (kind is None or isinstance(event, kind)):
                self._passed = number + 1
                return event
        return None

    def _lines(self) -> list[str]:
        return [line for event in self.conn.events if (line := line_of(event))]


def line_of(event: Event) -> str:
    """What a plain client shows of `event`, without the date; "" when it shows nothing."""
    match event:
        case Message() | Edited() | Whisper() | Joined() | Left() | Presence() if event.rendered:
            return event.text
        case Message() | Edited() | Whisper() | Joined() | Left() | Presence() | Refusal():
            return plain_text(event).partition(" > ")[2]
        case _:
            return ""
