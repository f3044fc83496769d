"""What clients have heard and were promised, and what is kept: as it was, for the verdict, and as it goes through a file.

An event that eighty clients have heard is written once, so a run of three minutes is some megabytes.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Event(NamedTuple):
    """One entry of a log: `kind` is message, edit or delete; `target` is 0 for a message."""

    kind: str
    offset: int
    id: str
    sender: str
    target: int
    text: str


class Item(NamedTuple):
    """A message as it is now."""

    sender: str
    text: str
    deleted: bool


class Chapter(NamedTuple):
    """From a beginning on, at the offset `start`: what the history said, and all that was heard then."""

    start: int
    items: dict[int, Item]
    events: list[Event]


@dataclass
class View:
    """One client's, of one channel; each `lost` begins another chapter."""

    client: str
    channel: str
    chapters: list[Chapter] = field(default_factory=list)

    @property
    def heard(self) -> int:
        return sum(len(chapter.events) for chapter in self.chapters)

    @property
    def last(self) -> int:
        """The offset up to which it knows everything; -1 before its beginning."""
        if not self.chapters:
            return -1
        chapter = self.chapters[-1]
        return chapter.events[-1].offset if chapter.events else chapter.start


class Said(NamedTuple):
    """One request of a client, and what came of it: its `offset`, or the code of an `error`, or neither yet."""

    client: str
    channel: str
    kind: str
    id: str
    text: str
    offset: int
    error: str


@dataclass
class Record:
    """What the clients of a process know."""

    views: list[View] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)

    def write(self, path: Path) -> None:
        numbers: dict[Event, int] = {}
        views = [
            (view.client, view.channel, [_written(chapter, numbers) for chapter in view.chapters]) for view in self.views
        ]
        path.write_text(json.dumps({"events": list(numbers), "views": views, "said": self.said}))

    @classmethod
    def read(cls, *paths: Path) -> "Record":
        """All that these files say."""
        record = cls()
        for path in paths:
            found = json.loads(path.read_text())
            events = [Event(*fields) for fields in found["events"]]
            for client, channel, chapters in found["views"]:
                record.views.append(View(client, channel, [_read(chapter, events) for chapter in chapters]))
            record.said += (Said(*fields) for fields in found["said"])
        return record


def _written(chapter: Chapter, numbers: dict[Event, int]) -> tuple[object, ...]:
    heard = [numbers.setdefault(event, len(numbers)) for event in chapter.events]
    return chapter.start, list(chapter.items.items()), heard


def _read(written: list, events: list[Event]) -> Chapter:
    start, items, heard = written
    return Chapter(start, {offset: Item(*fields) for offset, fields in items}, [events[number] for number in heard])
