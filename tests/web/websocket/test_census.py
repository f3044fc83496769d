"""How many connections there are, and how many there may be."""

import resource

import pytest

from web.websocket.census import SPARE, Census, Ticket, TooManyConnections


def census(process: int = 0, user: int = 0, address: int = 0) -> Census:
    return Census(per_process=process, per_user=user, per_address=address)


def test_a_process_takes_as_many_as_are_set_and_no_more() -> None:
    counted = census(process=2)
    counted.enter("ann", "a")
    counted.check("a")
    counted.enter("bob", "b")

    for refused in (lambda: counted.check("c"), lambda: counted.enter("cid", "c")):
        with pytest.raises(TooManyConnections) as caught:
            refused()
        assert str(caught.value) == "there are too many connections"

    assert len(counted) == 2


def test_one_address_takes_as_many_as_are_set_and_no_more() -> None:
    counted = census(address=2)
    counted.enter("ann", "a")
    counted.enter("bob", "a")

    for refused in (lambda: counted.check("a"), lambda: counted.enter("cid", "a")):
        with pytest.raises(TooManyConnections) as caught:
            refused()
        assert str(caught.value) == "there are too many connections from this address"

    counted.check("b")
    counted.enter("cid", "b")


def test_one_user_takes_as_many_as_are_set_and_no_more() -> None:
    counted = census(user=2)
    counted.enter("ann", "a")
    counted.enter("ann", "b")

    with pytest.raises(TooManyConnections) as caught:
        counted.enter("ann", "c")

    assert str(caught.value) == "there are too many connections of this user"
    counted.check("c")
    counted.enter("bob", "c")


def test_where_there_is_no_address_there_is_no_limit_for_it() -> None:
    counted = census(address=1)

    for name in ("ann", "bob", "cid"):
        counted.enter(name, "")

    assert len(counted) == 3


def test_who_is_refused_is_not_counted() -> None:
    counted = census(user=1, address=2)
    counted.enter("ann", "a")

    for _ in range(5):
        with pytest.raises(TooManyConnections):
            counted.enter("ann", "a")

    counted.enter("bob", "a")
    assert len(counted) == 2


def test_who_leaves_makes_room() -> None:
    counted = census(process=1, user=1, address=1)
    for _ in range(5):
        ticket = counted.enter("ann", "a")
        assert ticket == Ticket("ann", "a")
        counted.leave(ticket)

    assert len(counted) == 0
    counted.check("a")


def test_of_several_one_leaves() -> None:
    counted = census(process=3, user=2, address=2)
    first = counted.enter("ann", "a")
    counted.enter("ann", "a")

    counted.leave(first)

    assert len(counted) == 1
    counted.enter("ann", "a")
    with pytest.raises(TooManyConnections):
        counted.enter("ann", "a")


def test_zero_is_what_the_descriptors_allow() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (SPARE + 3, hard))
    try:
        counted = census()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    for _ in range(3):
        counted.enter("ann", "a")
    with pytest.raises(TooManyConnections):
        counted.check("b")


def test_however_few_descriptors_there_are_one_connection_is_taken() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (SPARE - 10, hard))
    try:
        counted = census()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    counted.enter("ann", "a")
    with pytest.raises(TooManyConnections):
        counted.check("a")


def test_a_full_house_may_have_room_later() -> None:
    assert (TooManyConnections.code, TooManyConnections.retry) == ("too_many_connections", True)
