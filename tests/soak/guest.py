"""One user of the soak: comes, hears, speaks, goes in some way or other, and comes back where it stopped."""

import json
import random
import re
from collections import deque
from urllib.parse import urlencode

import gevent

from tests.soak.desk import Desk
from tests.soak.journal import Journal, Stay, Stop
from tests.soak.line import Line

RETRY = re.compile(r"retry=(\d+\.\d+)")
UNHEARD = 20.0  # seconds for which who has fallen silent keeps its socket
FORGIVEN = frozenset({1012})  # ends for which a client can do nothing
SLOW_FORGIVEN = FORGIVEN | {4000, 4008}
WAYS = ("goodbye", "reset", "silence", "half a frame")


class Departure(BaseException):
    """What a guest is told to do; as an exception, because it waits for something else."""

    def __init__(self, way: str, absence: float, *, fresh: bool, to: str | None) -> None:
        super().__init__(way)
        self.way = way
        self.absence = absence
        self.fresh = fresh
        self.to = to


class Guest:
    """`live` is its greenlet.  Of the same `dice` come the same guests."""

    def __init__(
        self, desk: Desk, journal: Journal, name: str, channel: str, dice: random.Random, *, pace: float = 0.0
    ) -> None:
        self.name = name
        self.channel = channel
        self.stay: Stay | None = None  # the one that it is in, or was in last
        self.is_here = False
        self.last_closing: tuple[int, str] | None = None
        self.lasting = True
        """Its channel always has members."""
        self.refusals = 0
        self._desk = desk
        self._journal = journal
        self._dice = dice
        self._pace = pace
        self._line: Line | None = None
        self._stop: Stop | None = None  # where it comes back
        self._unacked: dict[str, str] = {}  # tag -> frame
        self._said = 0
        self._silent: deque[Line] = deque()  # which it hears no more, and has not closed
        self.greenlet = gevent.spawn(self._live)

    @property
    def waits_for_acks(self) -> bool:
        return bool(self._unacked)

    def say(self, *, asks: bool = True, size: int = 0) -> None:
        """Say something; `asks` for an ack."""
        assert self._line is not None
        self._said += 1
        tag = f"{self.name}.{self._said}"
        frame = {"type": "publish", "channel": self.channel, "text": f"{tag} {'.' * size}"}
        if asks:
            frame["id"] = tag
            self._unacked[tag] = json.dumps(frame)
        self._send(json.dumps(frame))

    def depart(self, way: str, absence: float, *, fresh: bool = False, to: str | None = None) -> None:
        """Have it go in one of the `WAYS`, and come back after some seconds, `fresh` or where it stopped, or elsewhere."""
        self.is_here = False
        self.greenlet.kill(Departure(way, absence, fresh=fresh, to=to), block=False)

    def leave(self) -> None:
        """End it for good."""
        self.is_here = False
        self.greenlet.kill(block=True)
        for line in [*self._silent, *([self._line] if self._line else [])]:
            line.close()

    def _live(self) -> None:
        while True:
            try:
                gevent.sleep(self._visit())
            except Departure as departure:
                self._go(departure)
            except OSError:  # refused, or gone before it was in
                self.refusals += 1
                gevent.sleep(0.2 + self._dice.random())

    def _visit(self) -> float:
        """Come in and stay until the end; return the seconds until it comes back."""
        where = f"/chat/ws?{urlencode(self._stop._asdict())}" if self._stop else "/chat/ws"
        token = self._desk.token(self.name, self.channel)
        self._line = line = Line(self._desk.address, where, token, buffer=4096 if self._pace else 0)
        for text in line.texts(self._pace):
            self._hear(json.loads(text))
        self.is_here = False
        line.close()
        self._remember()
        return self._come_back(line.closing)

    def _remember(self) -> None:
        if self.stay is not None:
            self._stop = self.stay.stop

    def _go(self, how: Departure) -> None:
        assert self._line is not None
        match how.way:
            case "goodbye":
                self._line.say_goodbye()
                with gevent.Timeout(5, False):
                    for text in self._line.texts():
                        self._hear(json.loads(text))
                self._line.close()
            case "reset":
                self._line.reset()
            case "silence":
                self._silent.append(self._line)
                gevent.spawn_later(UNHEARD, lambda: self._silent.popleft().close())
            case "half a frame":
                self._line.break_off(f"{self.name} was about to say something")
        self.is_here = False
        self._remember()
        if how.fresh or how.to is not None:
            self._stop = None
            self._unacked.clear()
        self.channel = how.to or self.channel
        gevent.sleep(how.absence)

    def _come_back(self, closing: tuple[int, str]) -> float:
        self.last_closing = closing
        if closing[0] not in (SLOW_FORGIVEN if self._pace else FORGIVEN):
            self._journal.faults.add("dismissed", f"{self.name} in {self.channel} got {closing} for nothing")
        delay = RETRY.fullmatch(closing[1])
        return float(delay.group(1)) if delay else 0.5

    def _hear(self, frame: dict) -> None:
        match frame["type"]:
            case "welcome":
                self.stay = self._journal.enter(self.name, self.channel, self._stop, frame, lasting=self.lasting)
                self.is_here = True
                for again in self._unacked.values():
                    self._send(again)
            case "message":
                assert self.stay is not None
                self.stay.hear(frame["offset"], frame["text"].partition(" ")[0])
            case "ack":
                assert self.stay is not None
                self._unacked.pop(frame["id"], None)
                self.stay.ack(frame["offset"], frame["id"])
            case "error":
                self._journal.faults.add("refused", f"{self.name} in {self.channel} got {frame}")
            case "ping":
                self._send('{"type": "pong"}')

    def _send(self, frame: str) -> None:
        assert self._line is not None
        self._line.send(frame)
