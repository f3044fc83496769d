"""What fuzzing has found, or reached, is run again each time."""

from importlib import import_module
from pathlib import Path

import gevent
import pytest

CORPUS = Path(__file__).parent / "corpus"
TARGETS = sorted(folder.name for folder in CORPUS.iterdir())


@pytest.mark.parametrize("target", TARGETS)
def test_no_input_of_the_corpus_breaks_its_target(target: str) -> None:
    inputs = sorted((CORPUS / target).iterdir())
    one = import_module(f"tests.fuzz.{target}").one

    for path in inputs:
        try:
            one(path.read_bytes())
        except (Exception, gevent.Timeout) as exc:
            exc.add_note(f"the input is {path}")
            raise

    assert len(inputs) >= 10
