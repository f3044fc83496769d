"""Faults of a long run."""

import pytest

from tests.faults import Faults


def test_all_faults_are_counted_and_the_first_are_kept() -> None:
    faults = Faults()
    for number in range(50):
        faults.add("ghost", str(number))

    assert faults.counts == {"ghost": 50}
    assert [fault.facts for fault in faults.first] == [str(number) for number in range(20)]


def test_a_run_with_faults_fails_and_names_its_seed(capsys: pytest.CaptureFixture[str]) -> None:
    faults = Faults()
    assert faults.tell(7, "all is well") == 0
    faults.add("ghost", "in the attic")
    assert faults.tell(7, "all is well") == 1

    assert capsys.readouterr().out == "all is well\nFAILED with SEED=7: 1 ghost\n  ghost: in the attic\n"
