"""What somebody types."""

import pytest

from chat.client.commands import Command, Mistake, Say, parse


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("hello", Say("hello")),
        ("  hello ", Say("  hello ")),
        ("", None),
        ("  ", None),
        ("//w is a command", Say("/w is a command")),
        ("/w bob psst, you", Say("psst, you", "bob")),
        ('/w "bob smith" psst', Say("psst", "bob smith")),
        ("/edit new text", Command("edit", "new text")),
        ("/delete", Command("delete")),
        ("/NAMES", Command("names")),
        ("/history", Command("history")),
        ("/history 200", Command("history", "200")),
        ("/quit", Command("quit")),
        ("/help", Command("help")),
    ],
)
def test_a_line_means_something(line: str, meaning: object) -> None:
    assert parse(line) == meaning


@pytest.mark.parametrize(
    "line", ["/w", "/w bob", "/edit", "/history 0", "/history 201", "/history ten", "/dance now", "/ x", "/"]
)
def test_a_mistake_is_told(line: str) -> None:
    assert isinstance(parse(line), Mistake)
