"""All guests of a run, in channels of different sizes, and what befalls them."""

import random
from collections import Counter
from collections.abc import Callable
from itertools import accumulate

import gevent

from tests.soak.desk import Desk
from tests.soak.guest import WAYS, Guest
from tests.soak.journal import Journal

SHARES = (0.3, 0.1, 0.1, *[0.025] * 8)  # of all clients, in the large channels
SMALL = 15  # clients in each of the others
SLOW = 0.02  # share of those who read slowly
PACE = 0.5  # seconds between two reads of theirs
PATIENCE = 60.0  # seconds for whatever should be over at once
ADMIN = "admin"


class House:
    """`talk` messages and `moves` departures a second; the same seed brings the same guests and the same dice."""

    def __init__(self, desk: Desk, journal: Journal, clients: int, *, seed: int, talk: float, moves: float) -> None:
        self.guests: list[Guest] = []
        self.departures: Counter[str] = Counter()
        self.said = 0
        self._desk = desk
        self._journal = journal
        self._dice = random.Random(seed)
        self._talk = talk
        self._moves = moves
        self._channels = self._make_channels(clients)
        self._work: list[gevent.Greenlet] = []

    def _make_channels(self, clients: int) -> list[str]:
        """The channel of each guest.  The first in each is there from the beginning to the end."""
        sizes = [max(int(share * clients), 2) for share in SHARES]
        sizes += [SMALL] * max((clients - sum(sizes)) // SMALL, 0)
        sizes[-1] += max(clients - sum(sizes), 0)
        for number in range(len(sizes)):
            self._desk.ask("POST", "/chat/channels", f"{ADMIN}{number}", {"name": f"room{number}"})
        return [f"room{number}" for number, size in enumerate(sizes) for _ in range(size)]

    def open(self) -> None:
        """Let all guests in.  Blocks."""
        firsts = {self._channels.index(channel) for channel in set(self._channels)}
        for number, channel in enumerate(self._channels):
            slow = number not in firsts and self._dice.random() < SLOW
            dice = random.Random(self._dice.random())
            guest = Guest(self._desk, self._journal, f"g{number}", channel, dice, pace=PACE if slow else 0.0)
            self.guests.append(guest)
        self._movers = [guest for number, guest in enumerate(self.guests) if number not in firsts]
        self._await_all("in")
        self._work = [gevent.spawn(self._at, self._talk, self._speak), gevent.spawn(self._at, self._moves, self._move)]

    def settle(self) -> None:
        """Have nobody move or speak any more, wait until all are back and all is heard, and look.  Blocks."""
        gevent.killall(self._work)
        self._look_for_crashes()
        self._await_all("back")
        self.wait(lambda: not any(guest.waits_for_acks for guest in self.guests), "unanswered messages")
        present = [guest.stay for guest in self.guests if guest.stay is not None]
        self.wait(lambda: all(stay.is_up_to_date for stay in present), "messages on their way")
        self._journal.settle(present)
        self._look_for_ghosts(self._who())

    def empty(self) -> None:
        """Have all leave.  Blocks."""
        for guest in self.guests:
            guest.leave()
        self._look_for_ghosts({channel: [] for channel in set(self._channels)})

    def wait(self, ask: Callable[[], bool], what: str, pause: float = 0.1) -> bool:
        """Ask until it is so.  Where it is not in time, and `what` tells what is the matter, that is a fault."""
        with gevent.Timeout(PATIENCE, False):
            while not ask():
                gevent.sleep(pause)
            return True
        if what:
            self._journal.faults.add("late", f"after {PATIENCE:g} s there are still {what}")
        return False

    def _at(self, rate: float, act: Callable[[], None]) -> None:
        """Act so often, a second; a moment that was missed is made up for."""
        for due in accumulate(iter(lambda: self._dice.expovariate(rate), None), initial=gevent.get_hub().loop.now()):
            gevent.sleep(max(due - gevent.get_hub().loop.now(), 0))
            act()

    def _speak(self) -> None:
        guest = self._dice.choice(self.guests)
        if guest.is_here:
            self.said += 1
            guest.say(asks=self._dice.random() < 0.9, size=int(self._dice.expovariate(1 / 40)))

    def _move(self) -> None:
        guest = self._dice.choice(self._movers)
        if not guest.is_here:
            return
        way, fate = self._dice.choice(WAYS), self._dice.random()
        to = self._dice.choice(self._channels) if fate > 0.9 else None
        self.departures[way] += 1
        guest.depart(way, self._dice.expovariate(1 / 3), fresh=fate < 0.2, to=to)

    def _look_for_crashes(self) -> None:
        """A guest or a mover that has died in silence would pass for a peaceful one."""
        for greenlet in (*self._work, *(guest.greenlet for guest in self.guests)):
            if greenlet.exception is not None:
                self._journal.faults.add("crashed", f"{greenlet!r}: {greenlet.exception!r}")

    def _who(self) -> dict[str, list[str]]:
        """Who should be where."""
        found: dict[str, list[str]] = {channel: [] for channel in set(self._channels)}
        for guest in self.guests:
            found[guest.channel].append(guest.name)
        return {channel: sorted(names) for channel, names in found.items()}

    def _look_for_ghosts(self, expected: dict[str, list[str]]) -> None:
        """The server may take until its pings find the silent ones out."""
        listed: dict[str, list[str]] = {}

        def agree() -> bool:
            listed.update(self._desk.ask("GET", "/present", ADMIN))
            return listed == expected

        if not self.wait(agree, "", pause=1.0):
            for channel, names in expected.items():
                if strange := set(names) ^ set(listed[channel]):
                    self._journal.faults.add(
                        "ghost", f"{channel}: only the server, or only we, have {sorted(strange)[:10]}"
                    )
        counts = {item["name"]: item["count"] for item in self._desk.ask("GET", "/chat/channels", ADMIN)["channels"]}
        for channel, names in expected.items():
            if counts[channel] != len(names):
                self._journal.faults.add("ghost", f"{channel} is said to have {counts[channel]} users and has {len(names)}")

    def _await_all(self, how: str) -> None:
        self.wait(lambda: all(guest.is_here for guest in self.guests), f"guests who are not {how}")
