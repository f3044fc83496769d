"""Idle channels: closed where nothing lasts, unloaded and loaded again where it does; restarts and crashes."""

from collections.abc import Iterator

import gevent
import pytest
from gevent.event import Event
from sqlalchemy import insert, or_, select

from chat import ChatServer, PipeConn
from chat.broker import MemoryBroker
from chat.closing import SERVER_CLOSED
from chat.database import Database
from chat.errors import (
    ChannelClosed,
    DatabaseUnavailable,
    DuplicatedChannel,
    IdleChannel,
    InvalidChannel,
    UserAlreadyConnected,
)
from chat.event import Message, Welcome
from chat.member import Resume
from chat.registry import ChannelRecord, MemoryRegistry
from chat.registry.sql import ChannelRow, SqlRegistry
from chat.schema import CHAT
from chat.tokens import Grant
from tests.chat.fakes import DirectFake, EventFormat, GatedArchive, LastingRegistry
from tests.chat.steps import enter, enter_directly, leave, wait_until

IDLE = 300.0
EPOCH = "0123456789abcdef"


class TestProbes:
    def test_silent_members_are_probed(self, lobby, clock):
        ada = enter_directly(lobby, "ada")
        lobby.flush()
        clock.advance(IDLE)

        wait_until(lambda: ada.probes == 1)
        clock.advance(IDLE)
        wait_until(lambda: ada.probes == 2)
        assert not lobby.is_closed

    @pytest.mark.parametrize("activity", ["broadcast", "message", "join", "leave"])
    def test_any_activity_puts_it_off(self, lobby, clock, activity):
        ada, bob = enter_directly(lobby, "ada"), enter_directly(lobby, "bob")
        lobby.flush()
        clock.advance(IDLE - 1)
        {
            "broadcast": lambda: lobby.new_system_broadcast("hi"),
            "message": lambda: ada.say("hi"),
            "join": lambda: enter(lobby, "cy"),
            "leave": bob.hang_up,
        }[activity]()
        lobby.flush()
        clock.advance(IDLE - 1)
        lobby.flush()
        assert ada.probes == 0

        clock.advance(1)
        wait_until(lambda: ada.probes == 1)

    def test_whoever_does_not_survive_the_probe_is_gone(self, lobby, clock):
        class Dead(PipeConn):
            def send_str(self, msg: str) -> None:
                if not msg:
                    raise OSError
                super().send_str(msg)

        ada = enter_directly(lobby, "ada")
        lobby.connect_user("dead", Dead())
        lobby.flush()
        clock.advance(IDLE)

        wait_until(lambda: lobby.get_users() == ["ada"])
        assert ada.closing is None

    def test_a_plain_client_sees_nothing_of_it(self, lobby, clock):
        ada = enter(lobby, "ada")
        lobby.flush()
        clock.advance(IDLE)
        gevent.idle()
        lobby.new_system_broadcast("over")

        assert [line.partition(" > ")[2] for line in (ada.recv(2), ada.recv(2))] == ["ada entered lobby!", "over"]


class TestWithoutALastingRegistry:
    def test_a_channel_that_nobody_joins_closes_itself(self, server, lobby, clock):
        clock.advance(IDLE - 0.5)
        gevent.idle()
        assert not lobby.is_closed
        clock.advance(0.5)

        wait_until(lambda: lobby.is_closed)
        wait_until(lambda: server.channels() == [])

    def test_one_that_everybody_left_closes_itself_after_the_time(self, server, lobby, clock):
        client = enter(lobby, "ada")
        clock.advance(IDLE / 2)
        leave(client)
        lobby.flush()
        clock.advance(IDLE - 1)
        gevent.idle()
        assert not lobby.is_closed
        clock.advance(1)

        wait_until(lambda: server.channels() == [])

    def test_it_is_remembered_that_it_was_idle(self, server, lobby, clock):
        clock.advance(IDLE)
        wait_until(lambda: server.channels() == [])

        with pytest.raises(IdleChannel):
            server.get_channel("lobby")
        with pytest.raises(IdleChannel):
            server.connect(server.request_token("ada", "lobby"), PipeConn())
        for use in (
            lambda: lobby.new_system_broadcast("x"),
            lambda: lobby.connect_user("ada", PipeConn()),
            lambda: lobby.remove_user("ada"),
        ):
            with pytest.raises(IdleChannel):
                use()

    def test_that_is_forgotten_in_the_end(self, server, lobby, clock):
        clock.advance(IDLE)
        wait_until(lambda: server.channels() == [])
        clock.advance(2 * 1800.0)
        gevent.idle()

        with pytest.raises(InvalidChannel):
            server.get_channel("lobby")

    def test_its_name_is_free_at_once(self, server, lobby, clock):
        clock.advance(IDLE)
        wait_until(lambda: server.channels() == [])
        again = server.create_channel("lobby")

        assert again.epoch != lobby.epoch
        assert server.get_channel("lobby") is again

    def test_a_channel_in_which_something_is_said_is_not_idle(self, lobby, clock):
        for _ in range(10):
            clock.advance(IDLE / 2)
            lobby.new_system_broadcast("still here")
            lobby.flush()

        assert not lobby.is_closed

    def test_the_time_is_that_of_the_settings(self, make_server, clock):
        lobby = make_server(channel_idle_timeout=5.0).create_channel("lobby")
        clock.advance(5.0)

        wait_until(lambda: lobby.is_closed)


class TestRaces:
    """What comes at the very moment at which the channel would end."""

    def test_what_is_said_is_said(self, lobby, clock):
        clock.advance(IDLE)
        lobby.new_system_broadcast("just in time")
        lobby.flush()

        assert lobby.offset == 1
        assert not lobby.is_closed

    def test_who_joins_is_in(self, lobby, clock):
        clock.advance(IDLE)
        enter(lobby, "ada")

        assert lobby.get_users() == ["ada"]

    def test_who_has_reserved_can_join(self, server, lobby, clock):
        member = server.reserve(server.redeem(server.request_token("ada", "lobby")))
        clock.advance(IDLE)
        gevent.idle()
        member.join(DirectFake(), wait=True)

        assert lobby.get_users() == ["ada"]

    def test_who_closes_it_closes_it(self, server, lobby, clock):
        clock.advance(IDLE)
        lobby.close()

        assert lobby.is_closed
        with pytest.raises(ChannelClosed):
            lobby.new_system_broadcast("x")
        with pytest.raises(InvalidChannel):
            server.get_channel("lobby")

    def test_who_flushes_is_not_left_waiting(self, lobby, clock):
        clock.advance(IDLE)
        with gevent.Timeout(2):
            lobby.flush()


class TestARegistryThatCannotClose:
    """The channel stays open there, so it may be loaded again, but not twice at once."""

    @pytest.fixture
    def registry(self) -> "UnclosableRegistry":
        return UnclosableRegistry()

    def test_who_comes_meanwhile_gets_another_one_only_once_the_first_has_ended(self, make_server, registry):
        server = make_server(backends={"registry": registry, "broker": MemoryBroker()})
        lobby = server.create_channel("lobby")
        lobby.new_system_broadcast("one")
        with pytest.raises(DatabaseUnavailable):
            lobby.close()
        assert lobby.is_closed

        again = server.get_channel("lobby")
        again.new_system_broadcast("two")
        again.flush()

        assert again is not lobby
        assert again.offset == 2
        assert server.get_channel("lobby") is again


class UnclosableRegistry(LastingRegistry):
    """Its database is away when something is to be closed."""

    def close(self, name: str, *, log: str | None = None, idle: bool = False) -> None:
        gevent.sleep(0)
        raise DatabaseUnavailable


@pytest.fixture
def path(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/chat.db"


@pytest.fixture
def databases(nothing_left_behind) -> Iterator[list[Database]]:
    opened: list[Database] = []
    yield opened
    for database in opened:
        database.close()


@pytest.fixture
def start(databases, make_server, path):  # in this order: databases are closed after the servers
    """Start a server as a process would, on the one file."""

    def start_server(*, controller: object = None, **backends: object) -> ChatServer:
        databases.append(Database(path, CHAT))
        return make_server(controller=controller, backends={"registry": SqlRegistry(databases[-1]), **backends})

    return start_server


@pytest.fixture
def lasting(start) -> ChatServer:
    return start()


class Counted(Database):
    """A database that counts."""

    transactions = 0

    def run(self, work):
        self.transactions += 1
        return super().run(work)

    def write(self, work):
        self.transactions += 1
        return super().write(work)


class Taken(SqlRegistry):
    """Everything in it is taken already, for to take thousands costs seconds."""

    def take(self, name: str) -> ChannelRecord:
        return ChannelRecord(name, EPOCH, name)


@pytest.fixture
def start_with_many(databases, start, path):
    """Start a server that has so many channels, in each of which one thing was said."""

    def start_it(count: int, *, controller: object = None) -> tuple[ChatServer, Counted]:
        database = Counted(path, CHAT)
        databases.append(database)
        names = [f"room {number}" for number in range(count)]
        rows = [{"name": name, "epoch": EPOCH, "log": name, "boot": ""} for name in names]
        database.run(lambda session: session.execute(insert(ChannelRow), rows) and None)
        server = start(registry=Taken(database), controller=controller)
        for name in names:
            server.get_channel(name).new_system_broadcast("one")
        return server, database

    return start_it


def lost(database: Database) -> list[str]:
    """The channels which a successor would find with another epoch, or offset, than they had."""
    query = select(ChannelRow.name).where(or_(ChannelRow.taken, ChannelRow.last_offset != 1, ChannelRow.epoch != EPOCH))
    return database.run(lambda session: list(session.scalars(query)))


def unload(server: ChatServer, name: str, clock) -> None:
    channel = server.get_channel(name)
    clock.advance(IDLE)
    wait_until(lambda: channel.is_closed)
    with gevent.Timeout(2):
        server.get_channel(name)


def say(channel, *texts: str) -> None:
    for text in texts:
        channel.new_system_broadcast(text)
    channel.flush()


class TestWithALastingRegistry:
    def test_an_idle_channel_is_unloaded_and_comes_back(self, lasting, clock):
        old = lasting.create_channel("lobby")
        say(old, "one", "two")
        clock.advance(IDLE)
        wait_until(lambda: old.is_closed)

        new = lasting.get_channel("lobby")

        assert new is not old
        assert (new.epoch, new.offset) == (old.epoch, 2)
        say(new, "three")
        assert new.offset == 3

    def test_it_keeps_its_name_meanwhile(self, lasting, clock):
        old = lasting.create_channel("lobby")
        clock.advance(IDLE)
        wait_until(lambda: old.is_closed)

        assert lasting.channels() == ["lobby"]
        with pytest.raises(DuplicatedChannel):
            lasting.create_channel("lobby")

    def test_the_old_object_says_that_it_was_unloaded(self, lasting, clock):
        old = lasting.create_channel("lobby")
        clock.advance(IDLE)
        wait_until(lambda: old.is_closed)

        with pytest.raises(IdleChannel):
            old.new_system_broadcast("x")
        with pytest.raises(IdleChannel):
            old.close()

    def test_a_token_brings_it_back(self, lasting, clock):
        old = lasting.create_channel("lobby")
        clock.advance(IDLE)
        wait_until(lambda: old.is_closed)
        lasting.connect(lasting.request_token("ada", "lobby"), PipeConn())

        assert lasting.get_channel("lobby").get_users() == ["ada"]

    def test_many_who_want_it_at_once_get_the_same(self, lasting, clock):
        lasting.create_channel("lobby")
        unload(lasting, "lobby", clock)
        clock.advance(IDLE)
        getting = [gevent.spawn(lasting.get_channel, "lobby") for _ in range(10)]
        gevent.joinall(getting, timeout=5, raise_error=True)
        loaded = {id(one.value) for one in getting if not one.value.is_closed}

        assert len(loaded) == 1

    def test_many_who_connect_while_it_is_unloaded_are_all_let_in(self, lasting, clock):
        old = lasting.create_channel("lobby")
        clock.advance(IDLE)
        joining = [
            gevent.spawn(lasting.connect, lasting.request_token(f"user {n}", "lobby"), PipeConn()) for n in range(10)
        ]
        gevent.joinall(joining, timeout=5, raise_error=True)

        assert lasting.counts(["lobby"]) == {"lobby": 10}
        assert lasting.get_channel("lobby").epoch == old.epoch

    def test_a_channel_that_was_closed_does_not_come_back(self, lasting):
        lasting.create_channel("lobby").close()

        assert lasting.channels() == []
        with pytest.raises(InvalidChannel):
            lasting.get_channel("lobby")

    def test_made_again_it_has_another_epoch(self, lasting):
        old = lasting.create_channel("lobby")
        say(old, "one")
        old.close()
        new = lasting.create_channel("lobby")

        assert new.epoch != old.epoch
        assert new.offset == 0

    def test_a_name_can_be_closed_and_made_again_at_once_and_again(self, lasting):
        for _ in range(5):
            channel = lasting.create_channel("lobby")
            enter(channel, "ada")
            channel.close()

        assert lasting.channels() == []

    def test_who_created_it_is_kept(self, lasting):
        lasting.create_channel("lobby", created_by="ada").close()
        lasting.create_channel("attic", created_by="bob")

        assert lasting.channels() == ["attic"]

    def test_members_find_what_they_missed_while_it_was_unloaded_and_back(self, start, clock):
        server = start(archive=GatedArchive())
        lobby = server.create_channel("lobby")
        say(lobby, "one", "two")
        clock.advance(IDLE)
        wait_until(lambda: lobby.is_closed)
        conn = DirectFake(EventFormat())
        member = server.reserve(Grant("ada", "lobby"))
        member.join(conn, wait=True, resume=Resume(lobby.epoch, 0, 10))

        assert [event.text for event in conn.wait_for(Message, 2)] == ["one", "two"]
        assert conn.wait_for(Welcome)[0].recovered


class TestRestarts:
    def test_a_new_server_goes_on_where_the_old_one_ended(self, start):
        first = start()
        lobby = first.create_channel("lobby", created_by="ada")
        say(lobby, "one", "two", "three")
        first.close()

        second = start()

        assert second.channels() == ["lobby"]
        again = second.get_channel("lobby")
        assert (again.epoch, again.offset) == (lobby.epoch, 3)
        say(again, "four")
        assert again.offset == 4

    def test_whoever_comes_back_has_recovered_when_nothing_was_missed(self, start):
        first = start()
        lobby = first.create_channel("lobby")
        say(lobby, "one")
        first.close()
        conn = DirectFake(EventFormat())
        start().reserve(Grant("ada", "lobby")).join(conn, wait=True, resume=Resume(lobby.epoch, 1, 10))

        assert conn.wait_for(Welcome)[0].recovered is True

    def test_what_was_said_up_to_the_end_is_counted(self, start):
        first = start()
        lobby = first.create_channel("lobby")
        enter(lobby, "ada")
        for number in range(100):
            lobby.new_system_broadcast(str(number))
        first.close()

        assert start().get_channel("lobby").offset == 100

    def test_of_thousands_of_channels_none_loses_its_epoch(self, start_with_many):
        server, database = start_with_many(5000)
        server.flush()
        before = database.transactions

        server.stop(SERVER_CLOSED, 4.0)

        assert database.transactions - before < 20
        assert lost(database) == []

    def test_nor_does_one_of_many_whose_hooks_hang_at_the_end(self, start_with_many):
        gate = Event()

        class Hanging:
            def on_disconnect(self, channel, username):
                gate.wait()

        server, database = start_with_many(100, controller=Hanging())
        for name in server.channels():
            enter_directly(server.get_channel(name), "ada")
        server.flush()
        before = database.transactions

        server.stop(SERVER_CLOSED, 0.05)

        assert database.transactions - before < 5
        assert lost(database) == []
        gate.set()

    def test_a_hook_that_hangs_at_the_end_costs_no_epoch(self, start):
        gate = Event()

        class Hanging:
            def on_disconnect(self, channel, username):
                gate.wait()

        first = start(controller=Hanging())
        lobby = first.create_channel("lobby")
        enter(lobby, "ada")
        say(lobby, "one", "two")

        first.stop(SERVER_CLOSED, 0.05)
        again = start().get_channel("lobby")

        assert (again.epoch, again.offset) == (lobby.epoch, 2)
        gate.set()

    @pytest.mark.logs_errors
    def test_a_log_that_hangs_at_the_end_does_cost_the_epoch(self, start):
        archive = GatedArchive()
        first = start(broker=MemoryBroker(archive))
        lobby = first.create_channel("lobby")
        say(lobby, "one")
        archive.gate.clear()
        lobby.new_system_broadcast("two")  # nobody knows whether it is in the log
        assert archive.is_waiting.wait(2)

        first.stop(SERVER_CLOSED, 0.05)

        assert start().get_channel("lobby").epoch != lobby.epoch
        archive.gate.set()

    def test_after_a_crash_there_is_a_new_epoch_and_nobody_is_told_a_lie(self, start):
        crashed = start()  # dropped without close, as a process that was killed
        lobby = crashed.create_channel("lobby")
        say(lobby, "one", "two")

        again = start().get_channel("lobby")

        assert again.epoch != lobby.epoch
        assert again.offset == 0
        conn = DirectFake(EventFormat())
        member = again.reserve(Grant("ada", "lobby"))
        member.join(conn, wait=True, resume=Resume(lobby.epoch, 2, 10))
        assert conn.wait_for(Welcome)[0].recovered is False

    def test_what_was_unloaded_when_it_crashed_goes_on(self, start, clock):
        crashed = start()
        lobby = crashed.create_channel("lobby")
        say(lobby, "one")
        clock.advance(IDLE)
        wait_until(lambda: lobby.is_closed)
        lobby.flush()  # returns when it has ended, and so was put back

        again = start().get_channel("lobby")

        assert (again.epoch, again.offset) == (lobby.epoch, 1)

    def test_what_was_closed_stays_closed(self, start):
        first = start()
        first.create_channel("lobby").close()
        first.close()

        assert start().channels() == []

    def test_a_user_can_come_back_at_once(self, start):
        first = start()
        enter(first.create_channel("lobby"), "ada")
        first.close()
        lobby = start().get_channel("lobby")
        enter(lobby, "ada")

        with pytest.raises(UserAlreadyConnected):
            lobby.connect_user("ada", PipeConn())

    def test_without_a_lasting_registry_nothing_is_left(self, make_server, clock):
        registry = MemoryRegistry(clock)
        first = make_server(backends={"registry": registry})
        first.create_channel("lobby")
        first.close()

        assert make_server(backends={"registry": registry}).channels() == []
