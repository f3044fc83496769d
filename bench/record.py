"""A file of results: JSON lines, of which the first says where and when, and each other one is a sample."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.load import Sample


class BadResults(Exception):
    """A file holds no results; the text says where it goes wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was to be measured; part of the first line."""

    scenarios: Sequence[str]
    """Their names."""
    rounds: int
    quick: bool
    missing: Sequence[str] = field(default_factory=tuple)
    """Which servers could not be installed, and why."""


class Results:
    """A file that is written as samples come."""

    def __init__(self, path: Path, facts: dict[str, object], plan: Plan) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        told = {"scenarios": plan.scenarios, "rounds": plan.rounds, "quick": plan.quick, "missing": plan.missing}
        path.write_text(json.dumps({**facts, **told}) + "\n")

    def add(self, sample: Sample) -> None:
        """Append it."""
        with self._path.open("a") as file:
            file.write(json.dumps(sample.line()) + "\n")


def read(path: Path) -> tuple[Plan, list[Sample]]:
    """Return what such a file holds.  Raises: BadResults; OSError."""
    first, *others = path.read_text().splitlines() or [""]
    try:
        told = json.loads(first)
        plan = Plan(**{key: told[key] for key in Plan.__slots__})
    except (ValueError, LookupError, TypeError) as exc:
        raise BadResults(f"{path}, line 1: it does not say what was measured ({exc!r})") from exc
    return plan, [_sample(path, number, line) for number, line in enumerate(others, 2)]


def _sample(path: Path, number: int, line: str) -> Sample:
    try:
        return Sample.read(json.loads(line))
    except (ValueError, LookupError, TypeError) as exc:
        raise BadResults(f"{path}, line {number}: it is no sample ({exc!r})") from exc
