"""All at once come back, from a cut and from a server that was killed; `make resume` does it with thousands."""

from pathlib import Path

from tests.resume import resume


def test_hundreds_that_come_back_at_once_hear_all_that_they_have_missed(tmp_path: Path) -> None:
    first, second = resume(tmp_path, 300)

    assert 0 < first.server < first.took
    assert 0 < second.server < second.took
