"""An archive that lasts as long as the process: for tests, and as the measure of what a real one must do."""

from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from datetime import datetime
from itertools import dropwhile
from typing import TypeVar

from chat.archive.base import MOST_UNREAD, Archive, Id, Unread
from chat.clock import Clock, SystemClock
from chat.errors import BrokerUnavailable
from chat.event import Deleted, Logged, Message, Past
from chat.mentions import folded, mentioned
from chat.past import changed, erased, fold, identity, is_about, page

T = TypeVar("T")


class _Log:
    """One log, and its messages as they are now; both by offset, which are in order."""

    def __init__(self) -> None:
        self.events: dict[int, Logged] = {}
        self.messages: dict[int, Past] = {}
        self.last = 0
        self.last_date: datetime | None = None

    def holds_another(self, event: Logged) -> bool:
        found = self.events.get(event.offset)
        if found is None:  # of the last one at least the date is known, whatever retention has taken
            return event.offset == self.last and event.date != self.last_date
        return identity(found) != identity(event)

    def append(self, event: Logged) -> None:
        if event.offset == self.last or event.offset in self.events:  # said again
            return
        is_late = event.offset < self.last
        if not is_late:
            self.last, self.last_date = event.offset, event.date
        self._add(copy(event))  # the event is the caller's
        if is_late:
            self.events, self.messages = dict(sorted(self.events.items())), dict(sorted(self.messages.items()))

    def _add(self, event: Logged) -> None:
        self.events[event.offset] = event
        if isinstance(event, Message):
            self.messages.update((past.offset, past) for past in fold([event]))
            return
        target = self.messages.get(event.target)
        if target is not None:
            target = self.messages[event.target] = changed(target, event)
        has_deleted = isinstance(event, Deleted) and event.target < event.offset
        if has_deleted or (target is not None and target.deleted is not None):
            self._erase(event.target)  # also edits that have outlasted their message

    def _erase(self, target: int) -> None:
        for offset, event in self.events.items():
            if is_about(event, target):
                self.events[offset] = erased(event)

    def drop(self, offset: int) -> None:
        del self.events[offset]
        self.messages.pop(offset, None)

    def unread(self, username: str, mark: int | None) -> Unread:
        others = [
            message
            for message in self.messages.values()
            if message.offset > (mark or 0) and message.sender != username and message.deleted is None
        ]
        mentions = sum(folded(username) in mentioned(message.text) for message in others)
        return Unread(0 if mark is None else min(len(others), MOST_UNREAD), min(mentions, MOST_UNREAD))


class MemoryArchive(Archive):
    """Never yields: what the contract lets block is atomic here."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._logs: dict[str, _Log] = {}
        self._marks: dict[tuple[str, str], int] = {}  # by log and username

    def append(self, log: str, events: Sequence[Logged]) -> None:
        kept = self._logs.setdefault(log, _Log())
        if any(map(kept.holds_another, events)):
            raise BrokerUnavailable
        for event in events:
            kept.append(event)

    def append_at_once(self, log: str, events: Sequence[Logged]) -> bool:
        with suppress(BrokerUnavailable):  # not by what a subclass makes of it, which may wait
            MemoryArchive.append(self, log, events)
            return True
        return False

    def read(self, log: str, after: int, limit: int) -> list[Logged]:
        return [event for event in self._events(log) if event.offset > after][:limit]

    def tail(self, log: str, limit: int, since: datetime) -> list[Logged]:
        return list(dropwhile(lambda event: event.date < since, _newest(self._events(log), limit)))

    def ids(self, log: str, since: datetime, limit: int) -> list[Id]:
        known = [event for event in self._events(log) if event.id and event.date >= since]
        return [Id(event.sender, event.id, event.offset, event.date) for event in _newest(known, limit)]

    def last(self, log: str) -> int:
        return self._log(log).last

    def find(self, log: str, offset: int) -> Past | None:
        return self._log(log).messages.get(offset)

    def history(self, log: str, *, before: int | None, after: int | None, limit: int) -> tuple[list[Past], bool]:
        return page(list(self._log(log).messages.values()), before=before, after=after, limit=limit)

    def mark(self, log: str, username: str, offset: int) -> None:
        self._marks[log, username] = max(offset, self._marks.get((log, username), 0))

    def unread(self, username: str, logs: Sequence[str]) -> dict[str, Unread]:
        return {log: self._log(log).unread(username, self._marks.get((log, username))) for log in logs}

    def trim(self, age: float, count: int) -> None:
        now = self._clock.now()
        for log in self._logs.values():
            for event in list(log.events.values()):
                is_old = age and (now - event.date).total_seconds() > age
                if not is_old and not (count and event.offset <= log.last - count):
                    break
                log.drop(event.offset)

    def forget(self, logs: Sequence[str]) -> None:
        for log in logs:
            self._logs.pop(log, None)
        self._marks = {key: offset for key, offset in self._marks.items() if key[0] not in logs}

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing ends."""

    def _log(self, log: str) -> _Log:
        return self._logs.get(log) or _Log()

    def _events(self, log: str) -> list[Logged]:
        return list(self._log(log).events.values())


def _newest(found: list[T], limit: int) -> list[T]:
    return found[max(len(found) - limit, 0) :]
