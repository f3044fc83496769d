"""Several servers over one Valkey and one database: to its members a channel is one."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from time import clock_gettime, time

import gevent
import pytest
from gevent.event import Event as Flag

from chat import ServerConf
from chat.archive.sql import SqlArchive
from chat.bus.lease import CLOCK, TAG
from chat.clock import Clock
from chat.closing import CHANNEL_CLOSED, KICKED, REPLACED, TAKEN_FOR_DEAD
from chat.conn import PipeConn
from chat.crowd import LARGE, PERIOD
from chat.errors import (
    ChannelClosed,
    DuplicatedChannel,
    InvalidChannel,
    InvalidToken,
    UserAlreadyConnected,
    UserNotHere,
)
from chat.event import Joined, Left, Message, Presence, User, Welcome, Whisper
from chat.fleet import TAG as EVERYBODY
from chat.fleet import Fleet
from chat.member import Resume
from chat.registry.boot import VOLATILE
from chat.registry.sql import SqlRegistry
from chat.shared import make_shared_server
from chat.testing import TurnedClock, no_greenlet_left
from chat.turn import yield_turn
from tests.chat.broker.processes import attempt
from tests.chat.fakes import DirectFake, EventFormat
from tests.chat.steps import enter, enter_directly, hear, wait_until

LEASE = 1.0  # seconds: who dies here is found dead soon


class House:
    """One process: a server, and how it dies."""

    def __init__(self, url: str, database, clock: Clock | None = None, **conf: object) -> None:
        self.fleet = Fleet(url, lease=LEASE)
        archive = SqlArchive(database)
        registry = SqlRegistry(database, VOLATILE)
        self.server = make_shared_server(ServerConf(**conf), self.fleet, registry=registry, archive=archive, clock=clock)
        self.archive = archive

    def die(self) -> None:
        """No word to anybody, as by kill -9: what holds its sockets has gone."""
        gevent.kill(self.fleet.lease._greenlet)
        self.fleet.bus.close()

    def take_for_dead(self) -> None:
        """As another one does that finds its lease run out; it learns of it when it renews that."""
        lease = self.fleet.lease
        gevent.kill(lease._greenlet)
        self.fleet.bus.do(TAG, "ZADD", lease._keys[2], int(time()), lease.process)

    def stop(self) -> None:
        self.server.close()
        self.fleet.bus.close()
        self.archive.close()


Start = Callable[..., House]


@pytest.fixture
def database_url(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/chat.db"


@pytest.fixture
def start(valkey, open_database, nothing_left_behind) -> Iterator[Start]:
    houses: list[House] = []

    def start_it(**conf: object) -> House:
        houses.append(House(valkey.unix_url, open_database(), **conf))
        return houses[-1]

    yield start_it
    for house in reversed(houses):
        house.stop()


@pytest.fixture
def one(start) -> House:
    return start()


@pytest.fixture
def two(start, one) -> House:
    return start()


def presences(conn: DirectFake) -> list[Presence]:
    return [event for event in conn.events if isinstance(event, Presence)]


def texts(conn: DirectFake) -> list[str]:
    return [event.text for event in conn.events if isinstance(event, Message)]


def test_what_is_said_in_one_is_heard_in_the_other_in_the_same_order(one, two):
    here = one.server.create_channel("lobby")
    there = two.server.get_channel("lobby")
    ada, bob = enter_directly(here, "ada"), enter_directly(there, "bob")
    for number in range(50):
        here.new_broadcast(f"a{number}", "ada")
        there.new_broadcast(f"b{number}", "bob")

    wait_until(lambda: len(texts(ada)) == len(texts(bob)) == 100)

    assert texts(ada) == texts(bob)
    assert [event.offset for event in ada.events if isinstance(event, Message)] == list(range(1, 101))


def test_a_name_belongs_to_one_channel(one, two):
    one.server.create_channel("lobby")

    with pytest.raises(DuplicatedChannel):
        two.server.create_channel("lobby")
    assert two.server.channels() == ["lobby"]


def test_a_token_issued_anywhere_is_redeemed_anywhere_once(one, two):
    one.server.create_channel("lobby")
    token = one.server.request_token("ada", "lobby")
    two.server.connect(token, PipeConn())

    assert one.server.get_channel("lobby").get_users() == ["ada"]
    with pytest.raises(InvalidToken):
        one.server.connect(token, PipeConn())


def test_a_user_name_is_taken_everywhere(one, two):
    enter(one.server.create_channel("lobby"), "ada")

    with pytest.raises(UserAlreadyConnected):
        two.server.get_channel("lobby").connect_user("ada", PipeConn())


def test_a_user_is_replaced_from_another_process(start):
    one, two = start(duplicate_user="replace"), start(duplicate_user="replace")
    old = enter_directly(one.server.create_channel("lobby"), "ada")
    enter_directly(two.server.get_channel("lobby"), "ada")

    wait_until(lambda: old.closing is not None)

    assert old.closing == REPLACED
    assert two.server.get_channel("lobby").get_users() == ["ada"]


def test_a_shared_user_comes_once_and_goes_once(start):
    one, two = start(duplicate_user="share"), start(duplicate_user="share")
    bob = enter_directly(one.server.create_channel("lobby"), "bob")
    here, there = enter(one.server.get_channel("lobby"), "ada"), enter(two.server.get_channel("lobby"), "ada")
    here.close()
    one.server.flush()
    there.close()

    wait_until(lambda: any(isinstance(event, Left) for event in bob.events))

    told = [type(event) for event in bob.events if isinstance(event, Joined | Left)]
    assert told == [Joined, Joined, Left]  # bob's own is the first


def test_a_whisper_reaches_every_process(one, two):
    ada = enter(one.server.create_channel("lobby"), "ada")
    there = two.server.get_channel("lobby")
    bob = enter(there, "bob")
    hear(ada, 2)
    one.server.get_channel("lobby").new_whisper("psst", "ada", "bob")

    assert hear(bob, 2)[-1].endswith("psst")
    with pytest.raises(UserNotHere):
        there.new_whisper("psst", "bob", "cyd")


def test_who_is_removed_is_removed_wherever_they_are(one, two):
    here = one.server.create_channel("lobby")
    bob = enter_directly(two.server.get_channel("lobby"), "bob")

    here.remove_user("bob")

    assert here.get_users() == []
    assert bob.closing == KICKED


def test_a_channel_is_closed_everywhere_and_its_name_is_free(one, two):
    here = one.server.create_channel("lobby")
    there = two.server.get_channel("lobby")
    bob = enter_directly(there, "bob")

    here.close()
    wait_until(lambda: there.is_closed)
    bob.wait_for_end()

    assert bob.closing == CHANNEL_CLOSED
    with pytest.raises(ChannelClosed):
        there.new_system_broadcast("anybody?")
    with pytest.raises(InvalidChannel):
        two.server.get_channel("lobby")
    again = two.server.create_channel("lobby")
    assert one.server.get_channel("lobby").log == again.log != here.log


def test_users_are_counted_wherever_they_are_and_whether_it_is_loaded_here_or_not(one, two):
    enter(one.server.create_channel("lobby"), "ada")
    enter(one.server.get_channel("lobby"), "bob")

    assert two.server.counts(["lobby", "attic"]) == {"lobby": 2, "attic": 0}


def test_who_comes_back_to_another_process_hears_what_was_missed(one, two):
    here = one.server.create_channel("lobby")
    for number in range(5):
        here.new_broadcast(f"{number}", "ada")
    one.server.flush()
    there = two.server.get_channel("lobby")
    conn = DirectFake(EventFormat())
    member = two.server.reserve(two.server.redeem(two.server.request_token("ada", "lobby")))
    member.join(conn, wait=True, resume=Resume(here.epoch, 2, 100))

    wait_until(lambda: len(texts(conn)) == 3)

    welcome = next(event for event in conn.events if isinstance(event, Welcome))
    assert (welcome.recovered, welcome.epoch, texts(conn)) == (True, there.epoch, ["2", "3", "4"])


def test_who_comes_back_to_a_process_that_has_not_heard_as_much_yet_goes_on_all_the_same(one, two):
    here = one.server.create_channel("lobby")
    there = two.server.get_channel("lobby")
    two.fleet.bus.shard(there.log).remove(two.server._broker._open[f"lobby/{there.log}"].topic)  # so it hears nothing
    for number in range(5):
        here.new_broadcast(f"{number}", "ada")
    one.server.flush()
    conn = DirectFake(EventFormat())
    member = two.server.reserve(two.server.redeem(two.server.request_token("ada", "lobby")))
    member.join(conn, wait=True, resume=Resume(here.epoch, 3, 100))

    wait_until(lambda: len(texts(conn)) == 2)

    welcome = next(event for event in conn.events if isinstance(event, Welcome))
    assert (welcome.recovered, texts(conn)) == (True, ["3", "4"])


def test_what_is_told_last_of_who_has_come_and_left_is_true_whoever_is_slow_to_say_it(one, two):
    bob = enter_directly(one.server.create_channel("lobby"), "bob")
    there = two.server.get_channel("lobby")
    ada = enter_directly(there, "ada")
    wait_until(lambda: [event.user.username for event in bob.events if isinstance(event, Joined)] == ["bob", "ada"])
    slow, date = two.server._broker, datetime.now(UTC)

    slow.publish(
        there._record.key, [Left("ada", date), Joined(User("cyd"), date), Whisper("ada", "bob", "I am here", date)]
    )
    wait_until(lambda: any(isinstance(event, Whisper) for event in bob.events))
    assert not any(isinstance(event, Left) or event == Joined(User("cyd"), date) for event in bob.events)

    ada.hang_up()
    wait_until(lambda: any(isinstance(event, Left) for event in bob.events))


def roster(conn: DirectFake) -> tuple[list[str], int, bool]:
    """Who is here by the last welcome, how many, and whether nothing was missed."""
    welcome = [event for event in conn.events if isinstance(event, Welcome)][-1]
    return [user.username for user in welcome.users], welcome.count, welcome.recovered


def test_members_are_told_who_is_here_after_a_time_in_which_their_process_heard_nothing(one, two):
    here, there = one.server.create_channel("lobby"), two.server.get_channel("lobby")
    bob, cyd = enter_directly(there, "bob"), enter(here, "cyd")
    wait_until(lambda: sum(isinstance(event, Joined) for event in bob.events) == 2)
    shard, topic = two.fleet.bus.shard(there.log), two.server._broker._open[f"lobby/{there.log}"].topic
    shard.remove(topic)
    cyd.close()
    enter_directly(here, "ada")
    here.new_broadcast("one", "ada")
    one.server.flush()
    shard.add(topic)

    wait_until(lambda: roster(bob) == (["ada", "bob"], 2, True))

    assert texts(bob) == ["one"]
    assert bob.closing is None


@pytest.mark.logs_errors
def test_members_are_told_who_is_here_when_a_process_died_before_it_could_say_who_had_left(one, two):
    here, there = one.server.create_channel("lobby"), two.server.get_channel("lobby")
    bob = enter_directly(here, "bob")
    enter_directly(there, "ada")
    wait_until(lambda: sum(isinstance(event, Joined) for event in bob.events) == 2)
    [ada] = there._loop.members.values()
    two.server._presence.release(f"lobby/{there.log}", "ada", ada.id)
    two.die()

    wait_until(lambda: roster(bob) == (["bob"], 1, True), timeout=5)


class Hooks:
    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def on_connect(self, channel, username) -> None:
        self.calls.append(("connect", username))

    def on_disconnect(self, channel, username) -> None:
        self.calls.append(("disconnect", username))


@pytest.mark.logs_errors
def test_who_dies_loses_its_members_and_their_hook_is_run_once(start):
    hooks = [Hooks(), Hooks(), Hooks()]
    one, two, three = (start(controller=hook) for hook in hooks)
    bob = enter_directly(one.server.create_channel("lobby"), "bob")
    enter_directly(two.server.get_channel("lobby"), "ada")
    enter_directly(three.server.get_channel("lobby"), "cyd")
    wait_until(lambda: sum(isinstance(event, Joined) for event in bob.events) == 3)

    two.die()
    wait_until(lambda: one.server.get_channel("lobby").get_users() == ["bob", "cyd"], timeout=5)
    wait_until(lambda: any(isinstance(event, Left) for event in bob.events))

    assert [event.username for event in bob.events if isinstance(event, Left)] == ["ada"]
    assert sorted(call for hook in hooks for call in hook.calls if call[1] == "ada") == [
        ("connect", "ada"),
        ("disconnect", "ada"),
    ]


@pytest.mark.logs_errors
def test_the_name_of_a_ghost_is_free_at_once_for_its_own_user(start):
    one, two = start(), start()
    one.server.create_channel("lobby")
    enter_directly(two.server.get_channel("lobby"), "ada")
    two.die()

    with gevent.Timeout(LEASE / 2):
        enter_directly(one.server.get_channel("lobby"), "ada")


@pytest.mark.logs_errors
def test_what_a_dead_process_has_not_archived_is_archived(start):
    one, two = start(), start()
    there = two.server.create_channel("lobby")  # which archives it
    one.server.get_channel("lobby")
    there.new_broadcast("kept", "ada")
    two.server.flush()
    two.die()
    log = one.server.get_channel("lobby").log

    wait_until(lambda: one.archive.last(log) == 1, timeout=5)


@pytest.mark.logs_errors
def test_the_archive_goes_on_after_a_death_where_the_channel_is_open_and_nobody_says_anything_more(start):
    one, two = start(), start()
    two.server.create_channel("lobby")  # which archives it
    here = one.server.get_channel("lobby")
    two.die()
    here.new_broadcast("kept", "ada")

    wait_until(lambda: one.archive.last(here.log) == 1, timeout=5)


@pytest.mark.logs_errors
def test_who_was_silent_for_longer_than_its_lease_closes_its_members_before_it_tells_anything(start, valkey):
    one, two = start(), start()
    bob = enter_directly(one.server.create_channel("lobby"), "bob")
    ada = enter_directly(two.server.get_channel("lobby"), "ada")
    two.fleet.lease._greenlet.kill()  # as if it slept: others bury it
    wait_until(lambda: one.server.get_channel("lobby").get_users() == ["bob"], timeout=5)

    one.server.get_channel("lobby").new_broadcast("while you slept", "bob")
    wait_until(lambda: "while you slept" in texts(bob))
    two.fleet.lease._renew()
    ada.wait_for_end()

    assert ada.closing == TAKEN_FOR_DEAD
    assert texts(ada) == []
    enter_directly(two.server.get_channel("lobby"), "ada")
    assert one.server.get_channel("lobby").get_users() == ["ada", "bob"]


@pytest.mark.logs_errors
def test_who_is_taken_for_dead_closes_the_members_of_a_channel_too_that_a_hook_keeps_from_ending(start):
    is_called, may_return = Flag(), Flag()

    class Slow:
        def on_connect(self, channel, username) -> None:
            if username == "bob":
                is_called.set()
                may_return.wait()

    one, two = start(), start(controller=Slow())
    one.server.create_channel("lobby")
    there = two.server.get_channel("lobby")
    ada = enter_directly(there, "ada")
    entering = attempt(enter_directly, there, "bob")
    wait_until(is_called.is_set)
    one.server.get_channel("lobby").close()
    wait_until(lambda: there.is_closed)
    assert ada.closing is None
    two.take_for_dead()
    two.fleet.lease._renew()
    may_return.set()
    entering.join()
    ada.wait_for_end()

    assert ada.closing == TAKEN_FOR_DEAD


@pytest.mark.logs_errors
def test_who_goes_on_under_another_name_is_found_by_that_one_only(one, two):
    old = two.fleet.lease.process
    two.take_for_dead()
    two.fleet.lease._renew()

    wait_until(lambda: one.fleet.is_gone(old))
    assert not one.fleet.is_gone(two.fleet.lease.process)


@pytest.mark.logs_errors
def test_who_cannot_hear_while_it_gets_another_name_is_found_by_that_one_once_it_hears_again(one, two):
    two.take_for_dead()
    ear = two.fleet.bus.shard(TAG)._ear
    ear.hang_up()
    wait_until(lambda: not ear.is_up)
    two.fleet.lease._renew()

    wait_until(lambda: not one.fleet.is_gone(two.fleet.lease.process))


@pytest.mark.logs_errors
def test_who_hears_again_before_it_can_ask_learns_all_the_same_which_logins_have_ended(one, two):
    ended: list[str] = []
    two.fleet.watch_sessions(ended.append)
    shard, topic = two.fleet.bus.shard(EVERYBODY), two.fleet._everybody
    shard.remove(topic)
    one.fleet.end_session("s1")
    shard._link.hang_up()
    wait_until(lambda: not shard._link.is_up)
    shard.add(topic)

    wait_until(lambda: ended == ["s1"])


@pytest.mark.logs_errors
def test_who_cannot_ask_which_logins_have_ended_gives_that_up_at_its_end(one, two):
    link = two.fleet.bus.shard(EVERYBODY)._link
    link.close()
    wait_until(lambda: not link.is_up)
    with no_greenlet_left():
        two.fleet.read_ended()
        yield_turn()
        two.server.close()


@pytest.mark.logs_errors
def test_when_the_redis_has_lost_everything_all_are_listed_again_though_nobody_says_anything(start, valkey):
    one, two = start(), start()
    enter_directly(one.server.create_channel("lobby"), "ada")
    enter_directly(two.server.get_channel("lobby"), "bob")

    valkey.client().flushall()
    wait_until(lambda: one.server.get_channel("lobby").get_users() == [], timeout=5)

    wait_until(lambda: one.server.get_channel("lobby").get_users() == ["ada", "bob"], timeout=5)
    with pytest.raises(UserAlreadyConnected):
        one.server.get_channel("lobby").connect_user("bob", PipeConn())


def test_all_who_were_on_a_server_that_ends_have_left_for_those_on_others(start):
    one, two = start(), start()
    bob = enter_directly(one.server.create_channel("lobby"), "bob")
    there = two.server.get_channel("lobby")
    for number in range(LARGE + 20):
        enter_directly(there, f"user{number}")
    two.server.close()

    wait_until(lambda: one.server.get_channel("lobby").get_users() == ["bob"], timeout=5)
    wait_until(lambda: [event.count for event in bob.events if isinstance(event, Presence)][-1] == 1)


class LargeRoom:
    """A room over two servers, each of which tells who came to it and left when its clock is turned."""

    def __init__(self, start: Start, **conf: object) -> None:
        self._clocks = TurnedClock(), TurnedClock()
        servers = [start(clock=clock, **conf).server for clock in self._clocks]
        servers[0].create_channel("lobby")
        self.here, self.there = (server.get_channel("lobby") for server in servers)
        self.members = [enter_directly(self.here, f"user{number:03}") for number in range(LARGE + 20)]
        self.count = self.here.count()
        self.told(0)

    def left(self, *conns: DirectFake) -> None:
        """They have hung up, and their servers know it."""
        for conn in conns:
            conn.hang_up()
        wait_until(lambda: self.here.count() == self.count - len(conns))

    def told(self, server: int) -> Presence:
        """What that one of the servers tells."""
        before = len(presences(self.members[0]))
        for room in (self.here, self.there):
            room.flush()
        self._clocks[server].advance(PERIOD)
        wait_until(lambda: len(presences(self.members[0])) > before)
        return presences(self.members[0])[-1]


def test_who_goes_to_another_server_has_not_left_a_large_room(start):
    room = LargeRoom(start)
    room.left(*room.members[1:3])
    enter_directly(room.there, "user001")

    joined, left = room.told(1), room.told(0)

    assert (joined.joined, joined.left) == ((User("user001"),), ())
    assert (left.joined, left.left, left.count) == ((), ("user002",), room.count - 1)


def test_who_was_told_to_have_left_it_by_one_server_is_told_to_be_back_by_the_other(start):
    room = LargeRoom(start)
    bob = enter_directly(room.there, "bob")
    room.told(1)
    bob.hang_up()
    wait_until(lambda: room.here.count() == room.count)
    bob = enter_directly(room.here, "bob")
    bob.hang_up()
    wait_until(lambda: room.here.count() == room.count)
    assert room.told(0).left == ("bob",)
    enter_directly(room.there, "bob")

    assert room.told(1).joined == (User("bob"),)


def test_who_came_to_a_large_room_by_one_server_and_left_by_another_has_left(start):
    room = LargeRoom(start, duplicate_user="share")
    conns = [enter_directly(channel, "bob") for channel in (room.here, room.there)]
    enter_directly(room.here, "cy")
    conns[0].hang_up()
    room.here.flush()
    conns[1].hang_up()
    wait_until(lambda: room.here.count() == room.count + 1)

    left, joined = room.told(1), room.told(0)

    assert (left.joined, left.left) == ((), ("bob",))
    assert (joined.joined, joined.left) == ((User("cy"),), ())


@pytest.mark.logs_errors
def test_nobody_is_buried_for_what_was_held_up_while_the_redis_stood_still(start, valkey):
    houses = start(), start()
    names = [house.fleet.lease.process for house in houses]
    wait_until(lambda: all(_may_bury(house) for house in houses), timeout=5)

    valkey.pause()
    wait_until(lambda: not any(house.fleet.is_up for house in houses), timeout=5)
    valkey.resume()
    wait_until(lambda: all(house.fleet.is_up for house in houses), timeout=5)

    assert [house.fleet.lease.process for house in houses] == names


def _may_bury(house: House) -> bool:
    since = house.fleet.lease._since
    return since is not None and clock_gettime(CLOCK) - since > LEASE


@pytest.mark.logs_errors
def test_when_the_redis_has_lost_everything_members_stay_and_are_told(start, valkey):
    one, two = start(), start()
    ada = enter_directly(one.server.create_channel("lobby"), "ada")
    bob = enter_directly(two.server.get_channel("lobby"), "bob")
    one.server.get_channel("lobby").new_broadcast("before", "ada")
    wait_until(lambda: texts(bob) == ["before"])
    epoch = one.server.get_channel("lobby").epoch

    valkey.client().flushall()
    one.server.get_channel("lobby").new_broadcast("after", "ada")
    wait_until(lambda: texts(bob) == texts(ada) == ["before", "after"], timeout=5)

    for conn in (ada, bob):
        welcome = [event for event in conn.events if isinstance(event, Welcome)][-1]
        assert not welcome.recovered
        assert welcome.epoch == one.server.get_channel("lobby").epoch != epoch
        assert conn.closing is None
    wait_until(lambda: one.server.get_channel("lobby").get_users() == ["ada", "bob"])
    past, _ = two.server.get_channel("lobby").history()
    assert [one.text for one in past] == ["before", "after"]
