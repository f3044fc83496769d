"""What is to befall a site is what was promised, whatever the dice say."""

import random
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from tests.chaos.shared import PARTITION, RESTARTS, Shared
from tests.chaos.site import KILLS, Alone, Site

SECONDS = 60.0


def program(site: Site, seed: int) -> list[tuple[float, str]]:
    return sorted(site.program(SECONDS, random.Random(seed)))


@pytest.mark.parametrize("seed", range(20))
def test_workers_and_their_valkey_are_killed_and_once_cut_off_from_each_other(seed: int) -> None:
    due = program(Shared(Path(), create_engine("sqlite://"), 3), seed)

    assert Counter(what for _, what in due) == {"kill": KILLS, "restart": RESTARTS, "cut": 1, "mend": 1}
    whens = {what: when for when, what in due}
    assert whens["mend"] == whens["cut"] + PARTITION
    assert all(0 < when < SECONDS for when, _ in due)


def test_one_that_is_alone_is_only_killed() -> None:
    due = program(Alone(Path(), create_engine("sqlite://")), 1)

    assert [what for _, what in due] == ["kill"] * KILLS
    assert [int(when / SECONDS * KILLS) for when, _ in due] == list(range(KILLS))
