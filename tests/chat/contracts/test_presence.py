"""What every `Presence` must do.  A new backend adds a parameter to `presence`."""

import pytest

from chat.errors import UserAlreadyConnected
from chat.presence import MemoryPresence, Presence
from tests.chat.steps import never_yields

NEVER_YIELDS = ["memory"]
ROOM = "lobby/e1"


@pytest.fixture(params=["memory"])
def backend(request) -> str:
    return request.param


@pytest.fixture
def presence(backend) -> Presence:
    return {"memory": MemoryPresence}[backend]()


def list_user(presence: Presence, username: str, member: str, policy: str = "reject", room: str = ROOM) -> bool:
    presence.reserve(room, username, member, policy)
    return presence.confirm(room, username, member)


def test_a_room_that_nobody_entered_is_empty(presence):
    assert presence.users(ROOM) == []
    assert presence.count(ROOM) == 0
    assert not presence.is_listed(ROOM, "ada")


def test_a_reserved_user_is_not_listed_yet(presence):
    presence.reserve(ROOM, "ada", "m1", "reject")

    assert presence.users(ROOM) == []
    assert presence.count(ROOM) == 0
    assert not presence.is_listed(ROOM, "ada")


def test_a_confirmed_user_is_listed(presence):
    presence.reserve(ROOM, "ada", "m1", "reject")

    assert presence.confirm(ROOM, "ada", "m1") is True
    assert presence.users(ROOM) == ["ada"]
    assert presence.count(ROOM) == 1
    assert presence.is_listed(ROOM, "ada")


def test_users_are_sorted(presence):
    for number, user in enumerate(["cy", "ada", "Bob", "bob", "élan"]):
        list_user(presence, user, f"m{number}")

    assert presence.users(ROOM) == ["Bob", "ada", "bob", "cy", "élan"]


def test_as_many_users_as_the_limit_are_sorted_too(presence):
    for number, user in enumerate(["cy", "ada", "bob"]):
        list_user(presence, user, f"m{number}")

    assert presence.users(ROOM, 3) == ["ada", "bob", "cy"]


def test_of_more_users_than_the_limit_that_many_are_told(presence):
    for number, user in enumerate(["cy", "ada", "bob"]):
        list_user(presence, user, f"m{number}")

    some = presence.users(ROOM, 2)

    assert len(set(some)) == 2
    assert set(some) < {"ada", "bob", "cy"}
    assert presence.count(ROOM) == 3


def test_rooms_do_not_know_of_each_other(presence):
    list_user(presence, "ada", "m1")
    list_user(presence, "ada", "m2", room="lobby/e2")  # the same name, after it was closed and made again
    presence.release(ROOM, "ada", "m1")

    assert presence.users(ROOM) == []
    assert presence.users("lobby/e2") == ["ada"]


@pytest.mark.parametrize("listed", [False, True])
def test_reject_refuses_a_name_that_is_reserved_or_listed(presence, listed):
    presence.reserve(ROOM, "ada", "m1", "reject")
    if listed:
        presence.confirm(ROOM, "ada", "m1")

    with pytest.raises(UserAlreadyConnected) as caught:
        presence.reserve(ROOM, "ada", "m2", "reject")

    assert caught.value.username == "ada"


def test_a_refused_reservation_leaves_no_trace(presence):
    list_user(presence, "ada", "m1")
    with pytest.raises(UserAlreadyConnected):
        presence.reserve(ROOM, "ada", "m2", "reject")

    assert presence.release(ROOM, "ada", "m2") is False
    assert presence.release(ROOM, "ada", "m1") is True
    assert presence.reserve(ROOM, "ada", "m3", "reject") == []


def test_names_differ_by_case(presence):
    list_user(presence, "ada", "m1")

    assert list_user(presence, "Ada", "m2") is True


@pytest.mark.parametrize("policy", ["reject", "replace", "share"])
def test_a_free_name_is_taken_from_nobody(presence, policy):
    assert presence.reserve(ROOM, "ada", "m1", policy) == []


def test_replace_tells_who_loses_the_name(presence):
    list_user(presence, "ada", "m1", "replace")

    assert presence.reserve(ROOM, "ada", "m2", "replace") == ["m1"]


def test_replace_takes_the_name_from_a_reservation_too(presence):
    presence.reserve(ROOM, "ada", "m1", "replace")

    assert presence.reserve(ROOM, "ada", "m2", "replace") == ["m1"]
    assert presence.confirm(ROOM, "ada", "m2") is True


def test_replace_takes_the_name_from_all_who_share_it(presence):
    list_user(presence, "ada", "m1", "share")
    list_user(presence, "ada", "m2", "share")

    assert sorted(presence.reserve(ROOM, "ada", "m3", "replace")) == ["m1", "m2"]


def test_who_lost_the_name_loses_it_once(presence):
    list_user(presence, "ada", "m1", "replace")
    presence.reserve(ROOM, "ada", "m2", "replace")

    assert presence.reserve(ROOM, "ada", "m3", "replace") == ["m2"]


def test_a_replaced_user_stays_listed_until_the_release(presence):
    list_user(presence, "ada", "m1", "replace")
    presence.reserve(ROOM, "ada", "m2", "replace")

    assert presence.users(ROOM) == ["ada"]
    assert presence.release(ROOM, "ada", "m1") is True
    assert presence.users(ROOM) == []
    assert presence.confirm(ROOM, "ada", "m2") is True


def test_share_lists_a_user_once_however_many_connections_there_are(presence):
    assert list_user(presence, "ada", "m1", "share") is True
    assert list_user(presence, "ada", "m2", "share") is False
    assert list_user(presence, "ada", "m3", "share") is False
    assert presence.users(ROOM) == ["ada"]
    assert presence.count(ROOM) == 1


def test_a_shared_name_is_unlisted_with_its_last_connection(presence):
    for member in ("m1", "m2"):
        list_user(presence, "ada", member, "share")

    assert presence.release(ROOM, "ada", "m1") is False
    assert presence.is_listed(ROOM, "ada")
    assert presence.release(ROOM, "ada", "m2") is True
    assert not presence.is_listed(ROOM, "ada")


def test_a_released_name_is_free(presence):
    list_user(presence, "ada", "m1")
    presence.release(ROOM, "ada", "m1")

    assert list_user(presence, "ada", "m2") is True


def test_a_release_of_a_reservation_unlists_nobody(presence):
    presence.reserve(ROOM, "ada", "m1", "reject")

    assert presence.release(ROOM, "ada", "m1") is False
    assert presence.reserve(ROOM, "ada", "m2", "reject") == []


def test_release_is_idempotent(presence):
    list_user(presence, "ada", "m1")

    assert [presence.release(ROOM, "ada", "m1") for _ in range(3)] == [True, False, False]


def test_a_release_of_somebody_unknown_does_nothing(presence):
    list_user(presence, "ada", "m1")

    assert presence.release("nowhere/e1", "ada", "m1") is False
    assert presence.release(ROOM, "bob", "m1") is False
    assert presence.release(ROOM, "ada", "m9") is False
    assert presence.users(ROOM) == ["ada"]


def test_an_abandoned_name_is_free_at_once_though_the_user_is_still_listed(presence):
    list_user(presence, "ada", "m1")
    presence.abandon(ROOM, "ada", "m1")

    assert presence.is_listed(ROOM, "ada")
    assert presence.reserve(ROOM, "ada", "m2", "reject") == []


def test_who_abandoned_is_not_evicted(presence):
    list_user(presence, "ada", "m1", "replace")
    presence.abandon(ROOM, "ada", "m1")

    assert presence.reserve(ROOM, "ada", "m2", "replace") == []


def test_a_quick_reconnect_keeps_the_user_listed(presence):
    list_user(presence, "ada", "m1")
    presence.abandon(ROOM, "ada", "m1")

    assert list_user(presence, "ada", "m2") is False
    assert presence.release(ROOM, "ada", "m1") is False
    assert presence.users(ROOM) == ["ada"]
    assert presence.release(ROOM, "ada", "m2") is True


def test_an_abandoned_user_is_unlisted_by_the_release(presence):
    list_user(presence, "ada", "m1")
    presence.abandon(ROOM, "ada", "m1")

    assert presence.release(ROOM, "ada", "m1") is True
    assert presence.users(ROOM) == []


def test_an_abandoned_reservation_is_gone(presence):
    presence.reserve(ROOM, "ada", "m1", "reject")
    presence.abandon(ROOM, "ada", "m1")

    assert presence.release(ROOM, "ada", "m1") is False
    assert presence.reserve(ROOM, "ada", "m2", "reject") == []


def test_abandon_is_idempotent_and_ignores_the_unknown(presence):
    list_user(presence, "ada", "m1")
    for _ in range(3):
        presence.abandon(ROOM, "ada", "m1")
    presence.abandon(ROOM, "bob", "m2")
    presence.abandon("nowhere/e1", "ada", "m1")

    assert presence.release(ROOM, "ada", "m1") is True


def test_abandon_never_yields_whatever_the_backend(presence):
    list_user(presence, "ada", "m1")
    presence.reserve(ROOM, "bob", "m2", "reject")

    with never_yields():
        presence.abandon(ROOM, "ada", "m1")
        presence.abandon(ROOM, "bob", "m2")


@pytest.mark.parametrize("backend", NEVER_YIELDS, indirect=True)
def test_it_never_yields_where_it_says_so(presence):
    with never_yields():
        presence.reserve(ROOM, "ada", "m1", "replace")
        presence.confirm(ROOM, "ada", "m1")
        presence.reserve(ROOM, "ada", "m2", "replace")
        presence.users(ROOM)
        presence.users(ROOM, 0)
        presence.count(ROOM)
        presence.is_listed(ROOM, "ada")
        presence.release(ROOM, "ada", "m1")
