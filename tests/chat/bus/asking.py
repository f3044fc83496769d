"""What the tests of links do over and over: ask, and see whether it is refused."""

from secrets import token_hex

import pytest

from chat.bus.link import Question
from chat.errors import BrokerUnavailable

SLOW_TO_LOAD = {"key-load-delay": 20_000, "loading-process-events-interval-bytes": 1024}  # microseconds; lets it answer


def ask(link, *words):
    question = Question(words)
    link.ask(question)
    return question.answer


def run(link, script, *args):
    question = Question.of_script(script, [], args)
    link.ask(question)
    return question.answer


def works(link):
    """Whether it answers, and to what it is asked."""
    try:
        return ask(link, "ECHO", "here").get(timeout=5) == b"here"
    except BrokerUnavailable:
        return False


def refused(answer):
    with pytest.raises(BrokerUnavailable):
        answer.get(timeout=5)
    return True


def fill(server):
    """With what takes a second to load, and cannot be compressed."""
    server.run(*(f"SET key{number} {token_hex(1024)}" for number in range(50)))
