"""What is amiss at the end of a long run: all of it counted, the first of it kept to be told."""

from collections import Counter
from typing import NamedTuple

KEPT = 20


class Fault(NamedTuple):
    """What is amiss, in one word, and all that is known of it."""

    kind: str
    facts: str


class Faults:
    """None, to begin with."""

    def __init__(self) -> None:
        self.first: list[Fault] = []
        self.counts: Counter[str] = Counter()

    def add(self, kind: str, facts: str) -> None:
        """Note one."""
        self.counts[kind] += 1
        if len(self.first) < KEPT:
            self.first.append(Fault(kind, facts))

    def tell(self, seed: int, otherwise: str) -> int:
        """Say what is amiss, or what there is to say `otherwise`; return the exit status."""
        if not self.counts:
            print(otherwise)
            return 0
        print(f"FAILED with SEED={seed}: " + ", ".join(f"{count} {kind}" for kind, count in self.counts.most_common()))
        for fault in self.first:
            print(f"  {fault.kind}: {fault.facts}")
        return 1
