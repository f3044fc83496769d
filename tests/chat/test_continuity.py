"""Where a channel's log goes on: after a restart, after a process that died, and after a machine that did."""

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import gevent
import pytest
from gevent.event import Event as Flag

from chat import ChatChannel, ChatServer
from chat.archive import Archive, MemoryArchive, Unread
from chat.archive.sql import SqlArchive
from chat.clock import Clock
from chat.database import Database, upgrade
from chat.errors import BrokerUnavailable, InvalidChannel
from chat.event import Ack, Logged, Message, Welcome
from chat.member import EVERYBODY, Resume
from chat.registry import MemoryRegistry
from chat.registry.boot import VOLATILE
from chat.registry.sql import SqlRegistry
from chat.schema import CHAT
from chat.testing import TurnedClock
from chat.tokens import Grant
from tests.chat.fakes import DirectFake, EventFormat
from tests.chat.steps import enter_directly, wait_until

TOP = Path(__file__).parents[2]

Start = Callable[..., ChatServer]


class Failing(MemoryArchive):
    """An archive that cannot be reached while `fails`, and notes what it was to forget."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.fails = False
        self.asked = 0
        self.forgotten: list[str] = []

    def last(self, log: str) -> int:
        self._check()
        return super().last(log)

    def tail(self, log: str, limit: int, since: datetime) -> list[Logged]:
        self._check()
        return super().tail(log, limit, since)

    def forget(self, logs: Sequence[str]) -> None:
        self._check()
        super().forget(logs)
        self.forgotten += logs

    def _check(self) -> None:
        self.asked += 1
        if self.fails:
            raise BrokerUnavailable


@pytest.fixture
def archive(clock: TurnedClock) -> Failing:
    return Failing(clock)


@pytest.fixture
def databases(nothing_left_behind) -> Iterator[list[Database]]:
    opened: list[Database] = []
    yield opened
    for database in opened:
        database.close()


@pytest.fixture
def start(databases, make_server, tmp_path) -> Start:  # in this order: databases are closed after the servers
    """Starts a server as a process does on the one file, in that boot of the machine."""

    def start_it(archive: Archive | None, boot: str = "b1", **conf: object) -> ChatServer:
        databases.append(Database(f"sqlite:///{tmp_path}/chat.db", CHAT))
        return make_server(backends={"registry": SqlRegistry(databases[-1], boot), "archive": archive}, **conf)

    return start_it


def say(channel: ChatChannel, *texts: str) -> None:
    for text in texts:
        channel.new_broadcast(text, "bob")
    channel.flush()


def come_back(channel: ChatChannel, epoch: str, offset: int, rights: frozenset[str] = EVERYBODY) -> DirectFake:
    conn = DirectFake(EventFormat())
    channel.reserve(Grant("ada", channel.name), rights).join(conn, wait=True, resume=Resume(epoch, offset, 1000))
    channel.flush()
    return conn


def texts(conn: DirectFake) -> list[str]:
    return [event.text for event in conn.events if isinstance(event, Message)]


def has_recovered(conn: DirectFake) -> bool:
    assert isinstance(conn.events[0], Welcome)
    return conn.events[0].recovered


def die(server: ChatServer) -> None:
    """What others see of a kill -9: nothing is put back.  (What runs is ended with the test.)"""
    server.flush()


def test_after_a_restart_the_epoch_is_the_same_and_nothing_is_missing(start, archive):
    first = start(archive)
    lobby = first.create_channel("lobby")
    say(lobby, "one", "two", "three")
    first.close()

    again = start(archive).get_channel("lobby")

    assert (again.epoch, again.offset) == (lobby.epoch, 3)
    ada = come_back(again, lobby.epoch, 1)
    assert has_recovered(ada)
    assert texts(ada) == ["two", "three"]


def test_who_may_not_read_what_was_said_does_not_get_it_by_coming_back(start, archive):
    lobby = start(archive).create_channel("lobby")
    say(lobby, "one", "two")

    ada = come_back(lobby, lobby.epoch, 1, EVERYBODY - {"history"})
    say(lobby, "three")

    assert not has_recovered(ada)
    assert texts(ada) == ["three"]


def test_after_a_kill_too(start, archive):
    first = start(archive)
    lobby = first.create_channel("lobby")
    say(lobby, "one", "two")
    die(first)

    again = start(archive).get_channel("lobby")
    say(again, "three")

    assert (again.epoch, again.offset) == (lobby.epoch, 3)
    ada = come_back(again, lobby.epoch, 1)
    assert has_recovered(ada)
    assert texts(ada) == ["two", "three"]
    assert [event.offset for event in archive.read(again.log, 0, 10)] == [1, 2, 3]


def test_without_an_archive_a_kill_begins_the_log_anew(start):
    first = start(None, VOLATILE)
    lobby = first.create_channel("lobby")
    say(lobby, "one", "two")
    die(first)

    again = start(None, VOLATILE).get_channel("lobby")

    assert again.epoch != lobby.epoch
    assert again.offset == 0
    assert not has_recovered(come_back(again, lobby.epoch, 1))


def test_with_the_first_archive_a_log_goes_on_in_another_epoch_if_what_was_said_without_one_is_lost(start, archive):
    first = start(None, VOLATILE)
    lobby = first.create_channel("lobby")
    say(lobby, "one", "two")
    die(first)

    assert start(archive).get_channel("lobby").epoch != lobby.epoch


def test_after_a_loss_of_power_the_epoch_is_new_and_the_offsets_go_on(start, archive):
    first = start(archive)
    lobby = first.create_channel("lobby")
    say(lobby, "one", "two")
    die(first)

    again = start(archive, "b2").get_channel("lobby")
    say(again, "three")

    assert again.epoch != lobby.epoch
    assert not has_recovered(come_back(again, lobby.epoch, 1))
    assert [event.offset for event in archive.read(again.log, 0, 10)] == [1, 2, 3]


def test_how_far_it_had_come_is_what_the_archive_says(start, archive):
    first = start(archive)
    lobby = first.create_channel("lobby")
    say(lobby, "one")
    first.close()
    archive.append(lobby.log, [Message("bob", "late", datetime.fromisoformat("2026-01-01T00:00:00Z"), offset=2)])

    again = start(archive).get_channel("lobby")
    say(again, "three")

    assert [event.text for event in archive.read(again.log, 0, 10)] == ["one", "late", "three"]
    assert again.epoch == lobby.epoch


def test_offsets_that_were_given_without_an_archive_are_not_given_again(start, archive):
    first = start(None, VOLATILE)
    say(first.create_channel("lobby"), "one", "two")
    first.close()

    again = start(archive, VOLATILE).get_channel("lobby")
    say(again, "three")

    assert [(event.offset, event.text) for event in archive.read(again.log, 0, 10)] == [(3, "three")]
    assert not has_recovered(come_back(again, again.epoch, 1))


def test_what_was_said_before_the_restart_is_known_again_by_its_id(start, archive, clock):
    first = start(archive)
    ada = enter_directly(first.create_channel("lobby"), "ada", EventFormat())
    ada.say("one", id="k1")
    first.flush()
    die(first)
    clock.advance(299.0)

    again = start(archive).get_channel("lobby")
    ada = enter_directly(again, "ada", EventFormat())
    ada.say("one", id="k1")
    again.flush()
    clock.advance(1.0)
    ada.say("one", id="k1")
    again.flush()

    assert [ack.offset for ack in ada.events if isinstance(ack, Ack)] == [1, 2]


def test_a_channel_whose_archive_cannot_be_reached_is_not_opened_and_its_fate_is_not_forgotten(start, archive):
    first = start(archive)
    lobby = first.create_channel("lobby")
    say(lobby, "one")
    die(first)
    second = start(archive, "b2")
    archive.fails = True
    for _ in range(2):
        with pytest.raises(BrokerUnavailable):
            second.get_channel("lobby")
    archive.fails = False

    again = second.get_channel("lobby")

    assert again.epoch != lobby.epoch
    assert again.offset == 1


class TestForgetting:
    """What the server sweeps, every `channel_cleanup_delay` seconds."""

    @pytest.fixture
    def server(self, make_server, archive, clock) -> ChatServer:
        backends = {"archive": archive, "registry": MemoryRegistry(clock)}
        return make_server(backends=backends, channel_cleanup_delay=60.0, retention_count=2)

    def test_the_log_of_a_channel_that_was_closed_is_forgotten_with_it(self, server, archive, clock):
        lobby = server.create_channel("lobby")
        say(lobby, "one")
        lobby.close()
        clock.advance(60.0)
        wait_until(lambda: archive.forgotten == [lobby.log])

        assert archive.last(lobby.log) == 0

    def test_what_cannot_be_forgotten_now_is_forgotten_later(self, server, archive, clock, caplog):
        lobby = server.create_channel("lobby")
        lobby.close()
        archive.fails = True
        clock.advance(60.0)
        wait_until(lambda: archive.asked == 1)
        archive.fails = False
        clock.advance(60.0)

        wait_until(lambda: archive.forgotten == [lobby.log])
        assert "forgotten later" in caplog.text

    def test_of_each_log_so_much_is_kept_as_the_settings_say(self, server, archive, clock):
        lobby = server.create_channel("lobby")
        say(lobby, "one", "two", "three", "four")
        clock.advance(60.0)

        wait_until(lambda: [event.text for event in archive.read(lobby.log, 0, 10)] == ["three", "four"])

    @pytest.mark.parametrize("conf", [{"retention_count": 2}, {"retention_age": 5.0}])
    def test_no_more_is_at_hand_than_is_to_be_kept(self, make_server, clock, conf):
        lobby = make_server(**conf).create_channel("lobby")
        say(lobby, "one", "two", "three")
        clock.advance(6.0 if "retention_age" in conf else 0.0)

        assert not has_recovered(come_back(lobby, lobby.epoch, 0))

    def test_what_the_archive_has_not_forgotten_the_registry_remembers(self, make_server, archive, clock):
        registry = MemoryRegistry(clock)
        server = make_server(backends={"archive": archive, "registry": registry}, channel_cleanup_delay=60.0)
        lobby = server.create_channel("lobby")
        lobby.close()
        archive.fails = True
        clock.advance(60.0)
        wait_until(lambda: archive.asked == 1)
        server.close()

        assert registry.ended(0.0) == [lobby.log]

    def test_one_that_takes_long_is_not_begun_again_and_ends_with_the_server(self, make_server, clock):
        begun: list[float] = []

        class Slow(MemoryArchive):
            def trim(self, age: float, count: int) -> None:
                begun.append(age)
                Flag().wait()

        server = make_server(backends={"archive": Slow(clock)}, channel_cleanup_delay=60.0, retention_age=5.0)
        for _ in range(3):
            clock.advance(60.0)
            gevent.idle()
        server.close()

        assert begun == [5.0]


class TestUnread:
    def test_it_is_told_by_channel(self, make_server, archive):
        server = make_server(backends={"archive": archive})
        lobby, attic = server.create_channel("lobby"), server.create_channel("attic")
        say(lobby, "one")
        archive.mark(lobby.log, "ada", 1)
        say(lobby, "hello @ada", "two")
        say(attic, "not for you")

        assert server.unread("ada", ["lobby", "attic", "nowhere"]) == {"lobby": Unread(2, 1), "attic": Unread(0, 0)}

    def test_without_an_archive_nothing_is_known(self, server, lobby):
        say(lobby, "one")

        assert server.unread("ada", ["lobby"]) == {}


def test_a_channel_that_does_not_exist_needs_no_archive(start, archive):
    archive.fails = True

    with pytest.raises(InvalidChannel):
        start(archive).get_channel("lobby")


def test_many_who_come_back_after_a_kill_find_one_channel(start, archive):
    first = start(archive)
    say(first.create_channel("lobby"), "one")
    die(first)
    second = start(archive)

    found = [gevent.spawn(second.get_channel, "lobby") for _ in range(8)]
    gevent.joinall(found, timeout=5, raise_error=True)

    assert len({one.value for one in found}) == 1


KILLED = """
    import sys
    from chat import ChatServer
    from chat.archive.sql import SqlArchive
    from chat.database import Database, upgrade
    from chat.registry.sql import SqlRegistry
    from chat.schema import CHAT

    database = Database(sys.argv[1], CHAT)
    server = ChatServer(registry=SqlRegistry(database), archive=SqlArchive(database))
    lobby = server.create_channel("lobby")
    print(lobby.epoch, flush=True)
    while True:
        lobby.new_broadcast("hello", "bob")
        lobby.flush()
        print(lobby.offset, flush=True)
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_real_kill_takes_back_nothing_that_was_heard(databases, make_server, tmp_path, request, kind):
    url = f"sqlite:///{tmp_path}/chat.db" if kind == "sqlite" else request.getfixturevalue("postgres").url
    upgrade(url, CHAT)
    command = [sys.executable, "-c", textwrap.dedent(KILLED), url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=TOP) as process:
        epoch = process.stdout.readline().strip()
        heard = [int(process.stdout.readline()) for _ in range(20)]
        process.kill()
        heard += map(int, process.stdout.read().split())

    databases.append(Database(url, CHAT))
    archive = SqlArchive(databases[-1])
    server = make_server(backends={"registry": SqlRegistry(databases[-1]), "archive": archive})
    try:
        lobby = server.get_channel("lobby")
        last = lobby.offset
        say(lobby, "again")
        kept = [event.offset for event in archive.read(lobby.log, 0, 1 << 20)]
    finally:
        server.close()
        archive.close()

    assert lobby.epoch == epoch
    assert heard[-1] <= last <= heard[-1] + 1
    assert kept == list(range(1, last + 2))
