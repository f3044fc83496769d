"""What docs/protocol.md shows is what a server says."""

import re

import pytest

from chat import errors
from chat.closing import CloseCode
from chat.requests import TYPES
from tests.transcript import PAGE, Differs, Likeness, blocks, replay

TEXT = PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("block", blocks(TEXT), ids=lambda block: block.partition("\n")[0][:40])
def test_a_conversation_goes_as_it_is_shown(block, tmp_path):
    replay(block, tmp_path)


def test_there_are_conversations():
    assert len(blocks(TEXT)) >= 10


def shown(pattern: str) -> set[str]:
    return set(re.findall(pattern, "".join(blocks(TEXT))))


def test_each_request_is_shown():
    assert shown(r'> \{"type":"(\w+)"') >= set(TYPES) - {"pong"}


def test_each_event_is_shown():
    told = {
        "welcome",
        "message",
        "whisper",
        "edit",
        "delete",
        "joined",
        "left",
        "typing",
        "ack",
        "history",
        "error",
        "closed",
        "pong",
    }

    assert shown(r'< \{"type":"(\w+)"') == told


def codes() -> list[str]:
    """Those that go over the wire."""
    found, todo = set(), [errors.ChatError]
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        if kind.__module__ == "chat.errors" and kind is not errors.ChatError and not kind.__name__.startswith("_"):
            found.add(kind.code)
    inside = {"eof", "test_timeout", "slow_consumer", "database_behind", "database_ahead"}
    return sorted(found - inside)


@pytest.mark.parametrize("code", codes())
def test_each_code_of_an_error_is_explained(code):
    assert f"`{code}`" in TEXT


@pytest.mark.parametrize("code", sorted(CloseCode))
def test_each_close_code_is_explained(code):
    assert re.search(rf"^\| (\d+, )*{code.value}[, ]", TEXT, re.MULTILINE)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ('"text":"hello"', '"text":"hullo"'),
        ('"offset":1', '"offset":2'),
        ('"id":"k1"', '"id":"k2"'),
        ('"type":"ack"', '"type":"message"'),
    ],
)
def test_what_is_shown_wrongly_is_found(wrong, right, tmp_path):
    block = next(block for block in blocks(TEXT) if '"type":"publish"' in block and '"text":"hello"' in block)
    sent, _, came = block.partition(' > {"type":"publish"')
    line, _, rest = came.partition("\n")
    doctored = f'{sent} > {{"type":"publish"{line}\n{rest.replace(wrong, right)}'
    assert doctored != block

    with pytest.raises((Differs, AssertionError, KeyError)):
        replay(doctored, tmp_path)


def test_what_varies_has_to_vary_alike():
    likeness = Likeness()

    assert likeness.holds({"epoch": "aa"}, {"epoch": "xx"})
    assert likeness.holds([{"epoch": "aa"}], [{"epoch": "xx"}])
    assert not likeness.holds({"epoch": "aa"}, {"epoch": "yy"})
    assert not likeness.holds({"epoch": "bb"}, {"epoch": "longer"})
    assert likeness.put_in("epoch=aa&offset=1") == "epoch=xx&offset=1"
