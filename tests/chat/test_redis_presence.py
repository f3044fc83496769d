"""Several processes that share who is where: what `RedisPresence` does beyond the contract."""

import gevent
import pytest

from chat.errors import BrokerUnavailable, UserAlreadyConnected
from chat.event import User
from chat.presence.redis import RedisPresence
from tests.chat.contracts.hearing import Alive
from tests.chat.steps import wait_until

ROOM = "lobby/e1"


def is_gone(process: str) -> bool:
    return process.startswith("dead")


@pytest.fixture
def bus(valkey, open_bus):
    return open_bus(valkey.unix_url)


@pytest.fixture
def here(bus):
    return RedisPresence(bus, Alive("here"), is_gone)


@pytest.fixture
def there(valkey, open_bus):
    return RedisPresence(open_bus(valkey.unix_url), Alive("there"), is_gone)


@pytest.fixture
def dead(bus):
    """As it was before it died."""
    return RedisPresence(bus, Alive("dead"), is_gone)


def list_user(presence: RedisPresence, username: str, member: str, policy: str = "share", name: str = "") -> User | None:
    presence.reserve(ROOM, username, member, policy)
    return presence.confirm(ROOM, User(username, name), member)


# Two that live


def test_a_name_that_is_held_here_is_taken_there(here, there):
    list_user(here, "ada", "here.1")

    with pytest.raises(UserAlreadyConnected):
        there.reserve(ROOM, "ada", "there.1", "reject")


def test_what_is_abandoned_here_is_free_there(here, there):
    list_user(here, "ada", "here.1")
    here.abandon(ROOM, "ada", "here.1")
    here.count(ROOM)  # asked after, so answered after

    assert there.reserve(ROOM, "ada", "there.1", "reject") == []


def test_who_loses_the_name_is_told_by_whoever_replaces_them(here, there):
    list_user(here, "ada", "here.1")

    assert there.reserve(ROOM, "ada", "there.1", "replace") == ["here.1"]


def test_everybody_is_listed_for_everybody(here, there):
    list_user(here, "ada", "here.1", name="Ada")
    list_user(there, "bob", "there.1")

    for presence in (here, there):
        assert presence.users(ROOM) == [User("ada", "Ada"), User("bob")]
        assert presence.counts([ROOM]) == [2]


def test_a_user_has_gone_with_the_last_connection_wherever_it_was(here, there):
    list_user(here, "ada", "here.1")
    assert list_user(there, "ada", "there.1") == User("ada")

    assert here.release(ROOM, "ada", "here.1") is None
    assert there.release(ROOM, "ada", "there.1") == User("ada")


def test_nothing_is_kept_of_those_who_have_gone(valkey, here):
    list_user(here, "ada", "here.1")
    here.reserve(ROOM, "bob", "here.2", "reject")
    here.release(ROOM, "ada", "here.1")
    here.abandon(ROOM, "bob", "here.2")
    here.count(ROOM)

    assert valkey.ask("DBSIZE") == 0


# One that died


def test_all_members_of_a_dead_process_are_forgotten(here, dead):
    list_user(dead, "ada", "dead.1", name="Ada")
    list_user(dead, "bob", "dead.2")
    dead.abandon(ROOM, "bob", "dead.2")
    dead.reserve(ROOM, "cy", "dead.3", "reject")
    list_user(here, "dan", "here.1")

    assert sorted(here.forget(ROOM, "dead"), key=repr) == [User("ada", "Ada"), User("bob")]

    assert here.users(ROOM) == [User("dan")]
    for number, username in enumerate(["ada", "bob", "cy"]):
        assert here.reserve(ROOM, username, f"here.1{number}", "reject") == []


def test_to_forget_is_idempotent(here, dead):
    list_user(dead, "ada", "dead.1")

    assert [here.forget(ROOM, "dead") for _ in range(3)] == [[User("ada")], [], []]
    assert here.forget("nowhere/e9", "dead") == []


def test_who_is_connected_elsewhere_too_stays_listed(here, dead):
    list_user(dead, "ada", "dead.1")
    list_user(here, "ada", "here.1")

    assert here.forget(ROOM, "dead") == []
    assert here.users(ROOM) == [User("ada")]
    assert here.release(ROOM, "ada", "here.1") == User("ada")


def test_a_reservation_elsewhere_does_not_keep_anybody_listed(here, dead):
    list_user(dead, "ada", "dead.1")
    here.reserve(ROOM, "ada", "here.1", "share")

    assert here.forget(ROOM, "dead") == [User("ada")]
    assert here.confirm(ROOM, User("ada"), "here.1") is None


@pytest.mark.parametrize("member", ["dead2.1", "undead.1", "dead", "deadx1", "un.dead.1"])
def test_a_process_of_a_similar_name_is_another_one(here, dead, member):
    list_user(here, "ada", member)

    assert here.forget(ROOM, "dead") == []
    assert here.users(ROOM) == [User("ada")]


def test_a_member_that_was_forgotten_has_nothing_to_release(here, dead):
    list_user(dead, "ada", "dead.1")
    here.forget(ROOM, "dead")

    dead.abandon(ROOM, "ada", "dead.1")

    assert dead.release(ROOM, "ada", "dead.1") is None


def test_a_large_room_is_looked_through_to_its_end(here):
    here.restore(ROOM, [(User(f"user{number}"), f"{('here', 'dead')[number % 2]}.{number}") for number in range(5000)])

    gone = here.forget(ROOM, "dead")

    assert {user.username for user in gone} == {f"user{number}" for number in range(1, 5000, 2)}
    assert len(gone) == here.count(ROOM) == 2500


def test_of_several_who_forget_at_once_each_user_is_returned_to_one(here, there):
    everybody = {User(f"user{number}") for number in range(2500)}
    here.restore(ROOM, [(user, f"dead.{user.username}") for user in everybody])

    forgetting = [gevent.spawn(presence.forget, ROOM, "dead") for presence in (here, there, here, there)]
    gone = [user for greenlet in gevent.joinall(forgetting) for user in greenlet.get()]

    assert len(gone) == 2500
    assert set(gone) == everybody
    assert here.count(ROOM) == 0


# Its names


def test_the_name_of_a_ghost_is_free_at_once_and_its_user_has_not_left(here, dead):
    list_user(dead, "ada", "dead.1", name="Ada")

    assert here.reserve(ROOM, "ada", "here.1", "reject") == []

    assert here.users(ROOM) == [User("ada", "Ada")]
    assert here.confirm(ROOM, User("ada"), "here.1") == User("ada", "Ada")
    assert here.forget(ROOM, "dead") == []
    assert here.release(ROOM, "ada", "here.1") == User("ada")


def test_a_name_that_a_ghost_has_only_reserved_is_free_at_once(here, dead):
    dead.reserve(ROOM, "ada", "dead.1", "reject")

    assert here.reserve(ROOM, "ada", "here.1", "reject") == []
    assert here.confirm(ROOM, User("ada"), "here.1") is None


def test_who_takes_the_name_of_a_ghost_and_does_not_enter_lets_it_be_forgotten(here, dead):
    list_user(dead, "ada", "dead.1")
    here.reserve(ROOM, "ada", "here.1", "reject")
    here.abandon(ROOM, "ada", "here.1")

    assert here.users(ROOM) == [User("ada")]
    assert here.forget(ROOM, "dead") == [User("ada")]


def test_the_name_of_a_ghost_is_taken_by_one_of_several(here, there, dead):
    list_user(dead, "ada", "dead.1")

    def reserve(presence: RedisPresence, member: str) -> bool:
        try:
            presence.reserve(ROOM, "ada", member, "reject")
        except UserAlreadyConnected:
            return False
        return True

    tries = [
        gevent.spawn(reserve, *who) for number in range(5) for who in ((here, f"here.{number}"), (there, f"there.{number}"))
    ]
    gevent.joinall(tries)

    assert [attempt.get() for attempt in tries].count(True) == 1


def test_a_name_that_another_one_takes_while_the_ghost_is_asked_after_is_taken(bus, there, dead):
    list_user(dead, "ada", "dead.1")

    def overtaken(process: str) -> bool:
        there.reserve(ROOM, "ada", "there.1", "reject")
        return is_gone(process)

    here = RedisPresence(bus, Alive("here"), overtaken)

    with pytest.raises(UserAlreadyConnected):
        here.reserve(ROOM, "ada", "here.1", "reject")
    assert there.confirm(ROOM, User("ada"), "there.1") == User("ada")


def test_all_holders_must_be_ghosts(bus, here, there, dead):
    list_user(dead, "ada", "dead.1")
    list_user(there, "ada", "there.1")

    with pytest.raises(UserAlreadyConnected):
        here.reserve(ROOM, "ada", "here.1", "reject")

    there.release(ROOM, "ada", "there.1")
    with pytest.raises(UserAlreadyConnected):  # nothing has changed for the ghost
        RedisPresence(bus, Alive("here")).reserve(ROOM, "ada", "here.1", "reject")


def test_several_ghosts_may_hold_a_name(here, dead):
    list_user(dead, "ada", "dead.1")
    list_user(dead, "ada", "dead2.1")

    assert here.reserve(ROOM, "ada", "here.1", "reject") == []


@pytest.mark.parametrize("holder", ["here.1", "m1"])
def test_nobody_is_asked_after_whose_process_is_this_one_or_none(bus, holder):
    asked: list[str] = []
    presence = RedisPresence(bus, Alive("here"), lambda process: asked.append(process) or True)
    list_user(presence, "ada", holder)

    with pytest.raises(UserAlreadyConnected):
        presence.reserve(ROOM, "ada", "here.2", "reject")

    assert asked == []


def test_nobody_is_asked_after_who_is_not_in_the_way(bus):
    asked: list[str] = []
    presence = RedisPresence(bus, Alive("here"), lambda process: asked.append(process) or True)
    for number, policy in enumerate(["share", "replace"]):
        list_user(presence, f"user{number}", f"dead.{number}")
        presence.reserve(ROOM, f"user{number}", f"here.{number}", policy)
    list_user(presence, "cy", "dead.3")
    presence.abandon(ROOM, "cy", "dead.3")
    presence.reserve(ROOM, "cy", "here.3", "reject")

    assert asked == []


# A Redis that forgets, or is away


def test_two_processes_restore_what_was_lost(valkey, here, there):
    valkey.ask("FLUSHALL")

    here.restore(ROOM, [(User("ada", "Ada"), "here.1"), (User("bob"), "here.2")])
    there.restore(ROOM, [(User("ada", "Ada"), "there.1")])

    assert there.users(ROOM) == [User("ada", "Ada"), User("bob")]
    assert here.release(ROOM, "ada", "here.1") is None
    assert there.release(ROOM, "ada", "there.1") == User("ada", "Ada")


def test_without_a_redis_it_says_so(bus, here):
    list_user(here, "ada", "here.1")
    bus.close()

    here.abandon(ROOM, "ada", "here.1")
    for call in (
        lambda: here.reserve(ROOM, "bob", "here.2", "reject"),
        lambda: here.confirm(ROOM, User("ada"), "here.1"),
        lambda: here.release(ROOM, "ada", "here.1"),
        lambda: here.users(ROOM),
        lambda: here.users(ROOM, 100),
        lambda: here.count(ROOM),
        lambda: here.counts([ROOM]),
        lambda: here.is_listed(ROOM, "ada"),
        lambda: here.restore(ROOM, [(User("ada"), "here.1")]),
        lambda: here.forget(ROOM, "dead"),
    ):
        with pytest.raises(BrokerUnavailable):
            call()


@pytest.mark.logs_errors
def test_a_name_that_could_not_be_let_go_is_let_go_when_the_redis_is_back(valkey, bus, here, there):
    list_user(here, "ada", "here.1")
    here.reserve(ROOM, "bob", "here.2", "reject")
    valkey.run("CLIENT KILL TYPE normal")
    wait_until(lambda: not bus.is_up)
    for username, member in (("ada", "here.1"), ("bob", "here.2")):
        here.abandon(ROOM, username, member)
    gevent.idle()
    wait_until(lambda: bus.is_up)

    here.reserve("attic/e2", "cy", "here.3", "reject")  # whatever comes first

    for number, username in enumerate(["ada", "bob"]):
        assert here.reserve(ROOM, username, f"here.1{number}", "reject") == []
    assert here.users(ROOM) == [User("ada")]


def test_a_name_is_free_again_when_nobody_has_waited_for_it(valkey, here, there):
    valkey.pause()
    reserving = gevent.spawn(here.reserve, ROOM, "ada", "here.1", "reject")
    gevent.idle()
    reserving.kill()
    valkey.resume()
    here.count(ROOM)

    assert there.reserve(ROOM, "ada", "there.1", "reject") == []
