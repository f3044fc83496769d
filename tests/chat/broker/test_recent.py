"""The recent events are what was added last, whether they came packed or not."""

from collections.abc import Sequence

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chat.broker import parcel
from chat.broker.recent import Recent
from chat.event import Deleted, Edited, Logged, Message
from chat.packed import Packed
from chat.past import erased, fold, is_about
from tests.chat.contracts.hearing import DATE

KEEP, AGE = 6, 10.0

KINDS = st.tuples(st.sampled_from(["said", "edited", "deleted"]), st.integers(1, 8))
"""What is heard, and how far behind is the message that it is about."""


def event(kind: str, offset: int, back: int) -> Logged:
    if kind == "said" or back >= offset:
        return Message("ann", "hello", DATE)
    target = offset - back
    return Edited(target, "ann", "HELLO", DATE) if kind == "edited" else Deleted(target, "ann", DATE)


class Batches(RuleBasedStateMachine):
    """`kept` is each event that should be there, and when it was added."""

    def __init__(self) -> None:
        super().__init__()
        self.recent = Recent(0, KEEP, AGE)
        self.kept: list[tuple[Logged, float]] = []
        self.last = 0
        self.now = 0.0

    @rule(count=st.integers(1, 4), hole=st.sampled_from([0, 0, 0, 2]))
    def hear_packed(self, count: int, hole: int) -> None:
        said = [Message("ann", f"{self.last + hole + index}", DATE) for index in range(1, count + 1)]
        first = self.last + hole + 1
        self.add(Packed(parcel.lines_of(said), first, count), said, first)

    @rule(kinds=st.lists(KINDS, min_size=1, max_size=4), hole=st.sampled_from([0, 0, 0, 2]))
    def hear(self, kinds: list[tuple[str, int]], hole: int) -> None:
        first = self.last + hole + 1
        events = [event(kind, offset, back) for offset, (kind, back) in enumerate(kinds, first)]
        copies = parcel.Parcel("e", first, len(events), parcel.lines_of(events)).events()
        self.add(copies, copies, first)

    def add(self, batch: Sequence[Logged], events: Sequence[Logged], first: int) -> None:
        if first != self.last + 1:
            self.kept = []
        for offset, event in enumerate(events, first):
            event.offset = offset
            self.kept.append((event, self.now))
            gone = {other.target for other, _ in self.kept if isinstance(other, Deleted)}
            self.kept = [
                (erased(other) if any(is_about(other, target) for target in gone) else other, added)
                for other, added in self.kept
            ]
            self.last = offset
        self.recent.add(batch, self.now)
        self.forget()

    @rule(seconds=st.sampled_from([1.0, 4.0, 9.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.forget()

    def forget(self) -> None:
        self.kept = [(event, added) for event, added in self.kept[-KEEP:] if added > self.now - AGE]

    @rule(leap=st.integers(0, 3))
    def skip(self, leap: int) -> None:
        self.last += leap
        self.kept = []
        self.recent.skip(self.last)

    @invariant()
    def everything_is_at_hand(self) -> None:
        events = [event for event, _ in self.kept]
        begins = self.last - len(events) + 1
        assert self.recent.last == self.last
        assert self.recent.begins(self.now) == begins
        assert len(self.recent) == len(events)
        assert self.recent.messages() == fold(events)

    @invariant()
    def so_is_any_part(self) -> None:
        events = [event for event, _ in self.kept]
        begins = self.last - len(events) + 1
        for after in range(max(begins - 2, 0), self.last + 2):
            is_here = begins - 1 <= after <= self.last
            rest = events[after + 1 - begins :] if is_here else None
            assert self.recent.past(after, KEEP, self.now) == rest
            assert self.recent.first_past(after, 2) == (rest[:2] if rest is not None else [] if after > self.last else None)
            assert self.recent.find(after) == next((past for past in fold(events) if past.offset == after), None)


TestBatches = Batches.TestCase
