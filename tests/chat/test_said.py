"""How many ids of one channel are remembered; the contract of brokers tells what an id is, and for how long it is known."""

from chat.broker.said import MOST, Said
from tests.chat.contracts.hearing import say


def test_of_too_many_those_that_were_said_longest_ago_are_forgotten():
    said = Said()
    for number in range(MOST):
        said.add(("ada", str(number)), number, 0.0)
    said.add(("ada", "0"), 7, 1.0)  # once more
    (event,) = say("one")
    event.id, event.offset = "last", 8

    said.add_all([event], 1.0)

    known = [said.offset(("ada", id), 1.0) for id in ("1", "2", "0", "last")]
    assert known == [None, 2, 7, 8]
