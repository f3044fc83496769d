"""Two hundred clients of `chat.client` in one process; `python -m tests.chaos.guests` is told what to do."""

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gevent
from gevent.fileobject import FileObject
from gevent.pool import Pool

from chat.client import ChatClient, ClientChannel, Deleted, Edited, Login, Lost, Message, Receipt
from chat.client import Event as Heard
from chat.errors import ChatError
from tests.chaos.record import Chapter, Event, Item, Record, Said, View
from tests.chaos.troupe import perform
from tests.live.people import PASSWORD

AT_ONCE = 8  # of those who log in
EDITS, DELETES = 0.05, 0.03  # of all that is said, at most: there has to be something of one's own
PAGE = 200


class Asked(NamedTuple):
    """Something was said, and the answer is to come."""

    channel: str
    kind: str
    text: str
    receipt: Receipt[int | None]


class Guest:
    """One user.  What is heard is the same for many, and so kept once, in `known`."""

    def __init__(self, url: str, name: str, dice: random.Random, known: dict[Event, Event]) -> None:
        self.name = name
        self.views: dict[str, View] = {}
        self.asked: list[Asked] = []
        self.complaints: list[str] = []
        self._client = ChatClient(url, login=Login(name, PASSWORD))
        self.channels: dict[str, ClientChannel] = {}
        self._own: dict[str, list[int]] = {}  # offsets of what it has said and can still change
        self._dice = dice
        self._known = known
        self._greenlets: list[gevent.Greenlet] = []

    def enter(self, names: list[str]) -> None:
        """Blocks."""
        for name in names:
            channel = self.channels[name] = self._client.join(name)
            assert channel.position is not None
            self._own[name] = []
            self.views[name] = View(self.name, name, [Chapter(channel.position.offset, {}, [])])
            self._spawn(lambda channel=channel: self._listen(channel))

    def talk(self, pause: float) -> None:
        """Say something every so many seconds, on the average."""

        def go_on() -> None:
            while True:
                gevent.sleep(self._dice.expovariate(1 / pause))
                self._speak(self._dice.choice(list(self.channels)))

        self._talker = self._spawn(go_on)

    def hush(self) -> None:
        self._talker.kill()

    def leave(self) -> None:
        gevent.killall(self._greenlets)
        self._client.close(0.0)

    def said(self) -> list[Said]:
        return [
            Said(self.name, one.channel, one.kind, one.receipt.id, one.text, *_outcome(one.receipt)) for one in self.asked
        ]

    def _spawn(self, work: Callable[[], None]) -> gevent.Greenlet:
        def noting() -> None:
            try:
                work()
            except ChatError as exc:
                self.complaints.append(f"{self.name}: {exc!r} {exc}")

        greenlet = gevent.spawn(noting)
        self._greenlets.append(greenlet)
        return greenlet

    def _speak(self, name: str) -> None:
        channel, own, luck = self.channels[name], self._own[name], self._dice.random()
        text = f"{self.name} says {len(self.asked)} {'é…😀 ' * int(self._dice.expovariate(0.2))}"
        if own and luck < DELETES:
            self._note(name, "delete", "", channel.delete(own.pop(self._dice.randrange(len(own)))))
        elif own and luck < DELETES + EDITS:
            self._note(name, "edit", text, channel.edit(self._dice.choice(own), text))
        else:
            self._note(name, "message", text, channel.publish(text))

    def _note(self, name: str, kind: str, text: str, receipt: Receipt[int | None]) -> None:
        self.asked.append(Asked(name, kind, text, receipt))

    def _listen(self, channel: ClientChannel) -> None:
        view = self.views[channel.name]
        for heard in channel:
            if isinstance(heard, Lost):
                view.chapters.append(Chapter(heard.position.offset, self._history(channel, heard.position.offset), []))
            elif (event := _event(heard)) is not None:
                view.chapters[-1].events.append(self._known.setdefault(event, event))
                if event.kind == "message" and event.sender == self.name:
                    self._own[channel.name].append(event.offset)

    def _history(self, channel: ClientChannel, last: int) -> dict[int, Item]:
        """Everything up to `last`, page by page."""
        items: dict[int, Item] = {}
        before, more = last + 1, last > 0
        while more:
            page = channel.history(before=before, limit=PAGE, timeout=None)
            items |= {past.offset: Item(past.sender, past.text, past.deleted is not None) for past in page.events}
            before, more = min(items, default=0), page.more
        return items


def _event(heard: Heard) -> Event | None:
    match heard:
        case Message():
            return Event("message", heard.offset, heard.id, heard.sender, 0, heard.text)
        case Edited():
            return Event("edit", heard.offset, heard.id, heard.sender, heard.target, heard.text)
        case Deleted():
            return Event("delete", heard.offset, heard.id, heard.sender, heard.target, "")
    return None


def _outcome(receipt: Receipt[int | None]) -> tuple[int, str]:
    """Offset and error code."""
    if not receipt.is_done:
        return 0, ""
    try:
        return receipt.wait() or 0, ""
    except ChatError as exc:
        return 0, exc.code


class Guests:
    """All of them; see `Cast`."""

    def __init__(self) -> None:
        self._guests: list[Guest] = []

    def enter(self, url: str, channels: dict[str, list[str]], sessions: dict[str, dict[str, str]], seed: int) -> None:
        dice = random.Random(seed)
        known: dict[Event, Event] = {}
        self._guests = [Guest(url, name, random.Random(dice.random()), known) for name in channels]
        pool = Pool(AT_ONCE)
        for guest in self._guests:
            pool.spawn(guest.enter, channels[guest.name])
        pool.join(raise_error=True)

    def talk(self, rate: float) -> None:
        for guest in self._guests:
            guest.talk(len(self._guests) / rate)

    def hush(self) -> None:
        for guest in self._guests:
            guest.hush()

    def state(self) -> dict[str, Any]:
        receipts = [asked.receipt for guest in self._guests for asked in guest.asked]
        last: dict[str, int] = {}
        for view in self._views:
            last[view.channel] = min(last.get(view.channel, view.last), view.last)
        return {
            "said": len(receipts),
            "open": sum(not receipt.is_done for receipt in receipts),
            "heard": sum(view.heard for view in self._views),
            "began": sum(len(view.chapters) - 1 for view in self._views),
            "last": last,
        }

    def crowds(self) -> dict[str, list[tuple[int, list[str]]]]:
        """By channel, all that these clients take for who is here: how many, and whom they know of."""
        found: dict[str, set[tuple[int, tuple[str, ...]]]] = {}
        for name, channel in [pair for guest in self._guests for pair in guest.channels.items()]:
            found.setdefault(name, set()).add((channel.count, tuple(sorted(channel.users))))
        return {name: [(count, list(users)) for count, users in crowds] for name, crowds in found.items()}

    def write(self, path: str) -> None:
        Record(self._views, [said for guest in self._guests for said in guest.said()]).write(Path(path))

    def complaints(self) -> list[str]:
        return [complaint for guest in self._guests for complaint in guest.complaints]

    def close(self) -> None:
        for guest in self._guests:
            guest.leave()

    @property
    def _views(self) -> list[View]:
        return [view for guest in self._guests for view in guest.views.values()]


def main() -> None:
    guests = Guests()
    perform(guests, FileObject(sys.stdin.buffer, "r"), sys.stdout)
    guests.close()


if __name__ == "__main__":
    main()
