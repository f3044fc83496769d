"""What every `Presence` must do.  A new backend adds a parameter to `presence`, and to `NEVER_YIELDS` if it is atomic."""

import pytest

from chat.errors import UserAlreadyConnected
from chat.event import User
from chat.presence import MemoryPresence, Presence
from chat.presence.redis import RedisPresence
from tests.chat.contracts.hearing import Alive
from tests.chat.steps import never_yields

NEVER_YIELDS = ["memory"]
SERVERS = {"valkey": "valkey", "redis": "redis_server"}
ROOM = "lobby/e1"
NOWHERE = "nowhere/e9"


@pytest.fixture(params=["memory", *SERVERS])
def backend(request) -> str:
    return request.param


@pytest.fixture
def presence(backend, request, open_bus) -> Presence:
    if backend == "memory":
        return MemoryPresence()
    return RedisPresence(open_bus(request.getfixturevalue(SERVERS[backend]).unix_url), Alive("p1"))


def list_user(
    presence: Presence, username: str, member: str, policy: str = "reject", room: str = ROOM, name: str = ""
) -> User | None:
    presence.reserve(room, username, member, policy)
    return presence.confirm(room, User(username, name), member)


def names(presence: Presence, room: str = ROOM) -> list[str]:
    return [user.username for user in presence.users(room)]


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

    assert presence.confirm(ROOM, User("ada"), "m1") is None
    assert presence.users(ROOM) == [User("ada")]
    assert presence.count(ROOM) == 1
    assert presence.is_listed(ROOM, "ada")


def test_users_are_sorted(presence):
    for number, user in enumerate(["cy", "ada", "Bob", "bob", "élan"]):
        list_user(presence, user, f"m{number}")

    assert names(presence) == ["Bob", "ada", "bob", "cy", "élan"]


def test_as_many_users_as_the_limit_are_sorted_too(presence):
    for number, user in enumerate(["cy", "ada", "bob"]):
        list_user(presence, user, f"m{number}")

    assert presence.users(ROOM, 3) == [User("ada"), User("bob"), User("cy")]


def test_of_more_users_than_the_limit_that_many_are_told(presence):
    for number, user in enumerate(["cy", "ada", "bob"]):
        list_user(presence, user, f"m{number}")

    some = {user.username for user in presence.users(ROOM, 2)}

    assert len(some) == 2
    assert some < {"ada", "bob", "cy"}
    assert presence.count(ROOM) == 3


def test_a_user_is_listed_by_their_display_name(presence):
    list_user(presence, "ada", "m1", name="Ada Lovelace")
    list_user(presence, "bob", "m2")

    assert presence.users(ROOM) == [User("ada", "Ada Lovelace"), User("bob")]


def test_users_are_sorted_by_username_whatever_their_display_names(presence):
    list_user(presence, "bob", "m1", name="A")
    list_user(presence, "ada", "m2", name="Z")

    assert names(presence) == ["ada", "bob"]


def test_display_names_are_told_when_the_users_are_more_than_the_limit_too(presence):
    for number in range(3):
        list_user(presence, f"user{number}", f"m{number}", name=f"Number {number}")

    (one,) = presence.users(ROOM, 1)

    assert one.name == f"Number {one.username[-1]}"


def test_the_newest_connection_of_a_user_tells_the_display_name(presence):
    list_user(presence, "ada", "m1", "share", name="Ada")

    assert list_user(presence, "ada", "m2", "share", name="Countess") == User("ada", "Ada")
    assert list_user(presence, "ada", "m3", "share") == User("ada", "Countess")
    assert presence.users(ROOM) == [User("ada")]


def test_a_display_name_stays_when_the_connection_that_told_it_has_gone(presence):
    list_user(presence, "ada", "m1", "share", name="Ada")
    list_user(presence, "ada", "m2", "share", name="Countess")

    assert presence.release(ROOM, "ada", "m2") is None
    assert presence.users(ROOM) == [User("ada", "Countess")]
    assert presence.release(ROOM, "ada", "m1") == User("ada", "Countess")


def test_a_quick_reconnect_changes_the_display_name(presence):
    list_user(presence, "ada", "m1", name="Ada")
    presence.abandon(ROOM, "ada", "m1")

    assert list_user(presence, "ada", "m2", name="Countess") == User("ada", "Ada")
    assert presence.release(ROOM, "ada", "m1") is None
    assert presence.users(ROOM) == [User("ada", "Countess")]


def test_a_display_name_is_forgotten_with_its_user(presence):
    list_user(presence, "ada", "m1", name="Ada")
    presence.release(ROOM, "ada", "m1")

    assert list_user(presence, "ada", "m2") is None
    assert presence.users(ROOM) == [User("ada")]


def test_rooms_do_not_know_of_each_other(presence):
    list_user(presence, "ada", "m1")
    list_user(presence, "ada", "m2", room="lobby/e2")  # the same name, after it was closed and made again
    presence.release(ROOM, "ada", "m1")

    assert presence.users(ROOM) == []
    assert names(presence, "lobby/e2") == ["ada"]


def test_rooms_are_counted_together_in_the_order_in_which_they_are_asked_about(presence):
    list_user(presence, "ada", "m1")
    for number in range(3):
        list_user(presence, f"user{number}", f"m1{number}", room="attic/e2")

    assert presence.counts(["attic/e2", NOWHERE, ROOM, "attic/e2"]) == [3, 0, 1, 3]
    assert presence.counts([]) == []


def test_more_rooms_than_are_asked_about_at_a_time_are_counted_too(presence):
    list_user(presence, "ada", "m1")

    assert presence.counts([*[NOWHERE] * 2500, ROOM]) == [*[0] * 2500, 1]


def test_what_can_be_no_name_is_not_listed(presence):
    list_user(presence, "ada", "m1")

    assert not presence.is_listed(ROOM, "")
    assert not presence.is_listed(ROOM, "\ud800")
    assert presence.is_listed(ROOM, "ada")


def test_names_of_any_script_come_back_as_they_were(presence):
    list_user(presence, "Ådä 漢字 {🦊} *", "m1", name="R L A: 'x' кафе")

    assert presence.users(ROOM) == [User("Ådä 漢字 {🦊} *", "R L A: 'x' кафе")]
    assert presence.release(ROOM, "Ådä 漢字 {🦊} *", "m1") == User("Ådä 漢字 {🦊} *", "R L A: 'x' кафе")


def test_of_a_large_room_any_are_told_or_all(presence):
    everybody = [f"user{number:03}" for number in range(700)]
    presence.restore(ROOM, [(User(username), f"m{username}") for username in everybody])

    some = presence.users(ROOM, 100)

    assert len(set(some)) == 100
    assert {user.username for user in some} < set(everybody)
    assert [user.username for user in presence.users(ROOM, 700)] == everybody
    assert names(presence) == everybody


@pytest.mark.parametrize("listed", [False, True])
def test_reject_refuses_a_name_that_is_reserved_or_listed(presence, listed):
    presence.reserve(ROOM, "ada", "m1", "reject")
    if listed:
        presence.confirm(ROOM, User("ada"), "m1")

    with pytest.raises(UserAlreadyConnected) as caught:
        presence.reserve(ROOM, "ada", "m2", "reject")

    assert caught.value.username == "ada"


def test_a_refused_reservation_leaves_no_trace(presence):
    list_user(presence, "ada", "m1")
    with pytest.raises(UserAlreadyConnected):
        presence.reserve(ROOM, "ada", "m2", "reject")

    assert presence.release(ROOM, "ada", "m2") is None
    assert presence.release(ROOM, "ada", "m1") == User("ada")
    assert presence.reserve(ROOM, "ada", "m3", "reject") == []


def test_names_differ_by_case(presence):
    list_user(presence, "ada", "m1")

    assert list_user(presence, "Ada", "m2") is None


@pytest.mark.parametrize("policy", ["reject", "replace", "share"])
def test_a_free_name_is_taken_from_nobody(presence, policy):
    assert presence.reserve(ROOM, "ada", "m1", policy) == []


def test_replace_tells_who_loses_the_name(presence):
    list_user(presence, "ada", "m1", "replace")

    assert presence.reserve(ROOM, "ada", "m2", "replace") == ["m1"]


def test_replace_takes_the_name_from_a_reservation_too(presence):
    presence.reserve(ROOM, "ada", "m1", "replace")

    assert presence.reserve(ROOM, "ada", "m2", "replace") == ["m1"]
    assert presence.confirm(ROOM, User("ada"), "m2") is None


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

    assert names(presence) == ["ada"]
    assert presence.release(ROOM, "ada", "m1") == User("ada")
    assert presence.users(ROOM) == []
    assert presence.confirm(ROOM, User("ada"), "m2") is None


def test_share_lists_a_user_once_however_many_connections_there_are(presence):
    assert list_user(presence, "ada", "m1", "share") is None
    assert list_user(presence, "ada", "m2", "share") == User("ada")
    assert list_user(presence, "ada", "m3", "share") == User("ada")
    assert names(presence) == ["ada"]
    assert presence.count(ROOM) == 1


def test_a_shared_name_is_unlisted_with_its_last_connection(presence):
    for member in ("m1", "m2"):
        list_user(presence, "ada", member, "share")

    assert presence.release(ROOM, "ada", "m1") is None
    assert presence.is_listed(ROOM, "ada")
    assert presence.release(ROOM, "ada", "m2") == User("ada")
    assert not presence.is_listed(ROOM, "ada")


def test_a_released_name_is_free(presence):
    list_user(presence, "ada", "m1")
    presence.release(ROOM, "ada", "m1")

    assert list_user(presence, "ada", "m2") is None


def test_a_release_of_a_reservation_unlists_nobody(presence):
    presence.reserve(ROOM, "ada", "m1", "reject")

    assert presence.release(ROOM, "ada", "m1") is None
    assert presence.reserve(ROOM, "ada", "m2", "reject") == []


def test_release_is_idempotent(presence):
    list_user(presence, "ada", "m1")

    assert [presence.release(ROOM, "ada", "m1") for _ in range(3)] == [User("ada"), None, None]


def test_a_release_of_somebody_unknown_does_nothing(presence):
    list_user(presence, "ada", "m1")

    assert presence.release(NOWHERE, "ada", "m1") is None
    assert presence.release(ROOM, "bob", "m1") is None
    assert presence.release(ROOM, "ada", "m9") is None
    assert names(presence) == ["ada"]


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

    assert list_user(presence, "ada", "m2") == User("ada")
    assert presence.release(ROOM, "ada", "m1") is None
    assert names(presence) == ["ada"]
    assert presence.release(ROOM, "ada", "m2") == User("ada")


def test_an_abandoned_user_is_unlisted_by_the_release(presence):
    list_user(presence, "ada", "m1")
    presence.abandon(ROOM, "ada", "m1")

    assert presence.release(ROOM, "ada", "m1") == User("ada")
    assert presence.users(ROOM) == []


def test_an_abandoned_reservation_is_gone(presence):
    presence.reserve(ROOM, "ada", "m1", "reject")
    presence.abandon(ROOM, "ada", "m1")

    assert presence.release(ROOM, "ada", "m1") is None
    assert presence.reserve(ROOM, "ada", "m2", "reject") == []


def test_abandon_is_idempotent_and_ignores_the_unknown(presence):
    list_user(presence, "ada", "m1")
    for _ in range(3):
        presence.abandon(ROOM, "ada", "m1")
    presence.abandon(ROOM, "bob", "m2")
    presence.abandon(NOWHERE, "ada", "m1")

    assert presence.release(ROOM, "ada", "m1") == User("ada")


def test_only_who_holds_the_name_is_confirmed(presence):
    with pytest.raises(KeyError):
        presence.confirm(ROOM, User("ada"), "m1")

    presence.reserve(ROOM, "ada", "m1", "replace")
    presence.reserve(ROOM, "ada", "m2", "replace")
    with pytest.raises(KeyError):
        presence.confirm(ROOM, User("ada"), "m1")

    assert presence.users(ROOM) == []
    assert presence.confirm(ROOM, User("ada"), "m2") is None


# What was lost


def test_members_that_were_lost_are_restored(presence):
    lost = presence.restore(ROOM, [(User("bob", "Bob"), "m1"), (User("ada"), "m2")])

    assert sorted(lost, key=lambda user: user.username) == [User("ada"), User("bob", "Bob")]
    assert presence.restore(ROOM, [(User("bob", "Bob"), "m1"), (User("ada"), "m2")]) == []

    assert presence.users(ROOM) == [User("ada"), User("bob", "Bob")]
    assert presence.count(ROOM) == 2
    with pytest.raises(UserAlreadyConnected):
        presence.reserve(ROOM, "ada", "m3", "reject")
    assert presence.release(ROOM, "ada", "m2") == User("ada")
    assert presence.release(ROOM, "bob", "m1") == User("bob", "Bob")


def test_to_restore_nobody_is_nothing(presence):
    presence.restore(ROOM, [])

    assert presence.users(ROOM) == []


def test_all_connections_of_a_user_are_restored_and_the_newest_tells_the_display_name(presence):
    presence.restore(ROOM, [(User("ada", "Ada"), "m1"), (User("ada", "Countess"), "m2")])

    assert presence.users(ROOM) == [User("ada", "Countess")]
    assert presence.release(ROOM, "ada", "m2") is None
    assert presence.release(ROOM, "ada", "m1") == User("ada", "Countess")


def test_to_restore_what_was_not_lost_changes_nothing(presence):
    list_user(presence, "ada", "m1", "share", name="Ada")
    list_user(presence, "ada", "m2", "share", name="Countess")

    for _ in range(2):
        presence.restore(ROOM, [(User("ada", "Countess"), "m2"), (User("ada", "Ada"), "m1")])

    assert presence.users(ROOM) == [User("ada", "Countess")]
    assert presence.release(ROOM, "ada", "m1") is None
    assert presence.release(ROOM, "ada", "m2") == User("ada", "Countess")


def test_what_is_restored_twice_is_gone_once(presence):
    for _ in range(2):
        presence.restore(ROOM, [(User("ada"), "m1")])

    assert [presence.release(ROOM, "ada", "m1") for _ in range(2)] == [User("ada"), None]


def test_who_was_only_reserved_is_listed_by_being_restored(presence):
    presence.reserve(ROOM, "ada", "m1", "reject")

    presence.restore(ROOM, [(User("ada", "Ada"), "m1")])

    assert presence.users(ROOM) == [User("ada", "Ada")]
    assert presence.release(ROOM, "ada", "m1") == User("ada", "Ada")


def test_who_has_abandoned_the_name_does_not_get_it_back_by_being_restored(presence):
    list_user(presence, "ada", "m1")
    presence.abandon(ROOM, "ada", "m1")

    presence.restore(ROOM, [(User("ada"), "m1")])

    assert presence.reserve(ROOM, "ada", "m2", "reject") == []
    assert presence.release(ROOM, "ada", "m1") == User("ada")


def test_a_restored_member_is_listed_beside_who_took_the_name_meanwhile(presence):
    list_user(presence, "ada", "m2", name="Countess")

    presence.restore(ROOM, [(User("ada", "Ada"), "m1")])

    assert presence.users(ROOM) == [User("ada", "Countess")]
    assert sorted(presence.reserve(ROOM, "ada", "m3", "replace")) == ["m1", "m2"]


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
        presence.confirm(ROOM, User("ada"), "m1")
        presence.reserve(ROOM, "ada", "m2", "replace")
        presence.users(ROOM)
        presence.users(ROOM, 0)
        presence.count(ROOM)
        presence.counts([ROOM, NOWHERE])
        presence.is_listed(ROOM, "ada")
        presence.restore(ROOM, [(User("ada"), "m1")])
        presence.release(ROOM, "ada", "m1")
