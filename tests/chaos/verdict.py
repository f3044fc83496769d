"""Whether what everybody heard, what everybody was promised and what is kept are the same.  Pure, so that it is tested on
records that were doctored.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from chat.crowd import LISTED
from tests.chaos.record import Chapter, Event, Item, Record, View
from tests.faults import Faults

Kept = Mapping[str, Sequence[Event]]
"""The log of each channel, as the database has it, in its order."""

ACKED = 0.95  # of all that was said, at least


def judge(record: Record, kept: Kept, faults: Faults, *, messages: int) -> None:
    """Note all that is amiss; so many `messages` must be kept at least."""
    said = {(one.client, one.id): one.text for one in record.said}
    for channel, log in kept.items():
        _judge_log(channel, log, said, faults)
    _judge_promises(record, kept, faults)
    for view in record.views:
        _judge_view(view, kept[view.channel], said, faults)
    count = sum(event.kind == "message" for log in kept.values() for event in log)
    if count < messages:
        faults.add("idle", f"{count} messages were kept, and {messages} are wanted")


def judge_archive(kept: Kept, ends: Mapping[str, int], faults: Faults) -> None:
    """Note where an archive that follows has not each event of a log exactly once; `ends` tells how far the logs go."""
    for channel, end in ends.items():
        counts = Counter(event.offset for event in kept.get(channel, ()))
        if missing := sorted(set(range(1, end + 1)) - counts.keys()):
            faults.add("unarchived", f"{channel} goes to {end}, and {len(missing)} are not kept, the first at {missing[0]}")
        if twice := sorted(offset for offset, count in counts.items() if count > 1):
            faults.add("archived twice", f"{channel} has {len(twice)} twice, the first at {twice[0]}")
        if beyond := sorted(offset for offset in counts if not 1 <= offset <= end):
            faults.add("beyond", f"{channel} goes to {end}, and {beyond[0]} is kept")


def misjudged(members: Mapping[str, Set[str]], crowds: Mapping[str, Iterable[tuple[int, Sequence[str]]]]) -> Iterator[str]:
    """Tell where somebody is wrong about who is in a channel; `crowds` are all who are taken to be there.

    In a large one names are left out.
    """
    for channel, there in members.items():
        for count, users in crowds.get(channel, ()):
            if count != len(there):
                yield f"{channel} has {len(there)} members, and somebody counts {count}"
            if count <= LISTED and (wrong := there ^ {*users}):
                yield f"somebody is wrong about {min(wrong)} in {channel}"


def fold(events: Iterable[Event], items: Mapping[int, Item] | None = None) -> dict[int, Item]:
    """All messages as they are after `events`, which go on from `items`."""
    found = dict(items or {})
    for event in events:
        if event.kind == "message":
            found[event.offset] = Item(event.sender, event.text, False)
        elif event.target in found and not found[event.target].deleted:
            deleted = event.kind == "delete"
            found[event.target] = found[event.target]._replace(text="" if deleted else event.text, deleted=deleted)
    return found


def erased(log: Sequence[Event]) -> set[int]:
    """The offsets of which deleting has taken the text."""
    targets = {event.target for event in log if event.kind == "delete"}
    return targets | {event.offset for event in log if event.kind == "edit" and event.target in targets}


def _judge_log(channel: str, log: Sequence[Event], said: Mapping[tuple[str, str], str], faults: Faults) -> None:
    offsets = [event.offset for event in log]
    if offsets != list(range(1, len(log) + 1)):
        faults.add("holes", f"{channel} has {len(log)} events, from {offsets[:1]} to {offsets[-1:]}")
    blank = erased(log)
    known: dict[tuple[str, str], Event] = {}
    for event in log:
        whose = event.sender, event.id
        first = known.setdefault(whose, event)
        if first is not event:
            faults.add("doubled", f"{channel} has {event} and {first}")
        if whose not in said:
            faults.add("invented", f"{channel} has {event}, which nobody has said")
        elif event.kind != "delete" and event.text != ("" if event.offset in blank else said[whose]):
            faults.add("changed", f"{channel} has {event}, and what was said is {said[whose]!r}")


def _judge_promises(record: Record, kept: Kept, faults: Faults) -> None:
    places = {(channel, event.offset): event for channel, log in kept.items() for event in log}
    acked = [one for one in record.said if one.offset]
    for one in acked:
        event = places.get((one.channel, one.offset))
        if event is None or (event.sender, event.id, event.kind) != (one.client, one.id, one.kind):
            faults.add("unkept", f"{one} was acked, and {event} stands there")
    if len(acked) < ACKED * len(record.said):
        faults.add("unacked", f"{len(acked)} of {len(record.said)} were acked")


def _judge_view(view: View, log: Sequence[Event], said: Mapping[tuple[str, str], str], faults: Faults) -> None:
    who = f"{view.client} in {view.channel}"
    if not view.chapters:
        faults.add("lost", f"{who} has never been there")
        return
    blank = erased(log)
    reached = 0
    for chapter in view.chapters:
        if chapter.start < reached:
            faults.add("taken back", f"{who} had heard {reached}, and began anew from {chapter.start}")
        reached = _judge_chapter(who, chapter, faults)
    for event in {event for chapter in view.chapters for event in chapter.events}:
        stands = log[event.offset - 1] if event.offset <= len(log) else None
        if stands is None or event._replace(text="") != stands._replace(text=""):
            faults.add("taken back", f"{who} has heard {event}, and {stands} is kept")
        elif event.text not in (stands.text, said.get((event.sender, event.id)) if event.offset in blank else stands.text):
            faults.add("changed", f"{who} has heard {event}, and {stands} is kept")
    if view.last < len(log):
        faults.add("lost", f"{who} ends at {view.last}, and the channel goes on to {len(log)}")
        return
    _compare(who, fold(view.chapters[-1].events, view.chapters[-1].items), fold(log), faults)


def _judge_chapter(who: str, chapter: Chapter, faults: Faults) -> int:
    """Look at the order; return the last offset."""
    last = chapter.start
    missing: set[int] = set()
    for event in chapter.events:
        if event.offset > last + 1:
            faults.add("lost", f"{who} has heard {last}, then {event.offset}")
            missing.update(range(last + 1, event.offset))
        elif event.offset <= last:
            faults.add("swapped" if event.offset in missing else "doubled", f"{who} has heard {last}, then {event.offset}")
            missing.discard(event.offset)
        last = max(last, event.offset)
    return last


def _compare(who: str, seen: Mapping[int, Item], there: Mapping[int, Item], faults: Faults) -> None:
    for offset in sorted(seen.keys() | there.keys()):
        if seen.get(offset) != there.get(offset):
            faults.add("differs", f"{who} sees {seen.get(offset)} at {offset}, where {there.get(offset)} is kept")
