"""What every `Registry` must do.  A new backend adds a parameter to `registry`."""

from dataclasses import replace

import gevent
import pytest
from gevent.event import Event
from sqlalchemy import text

from chat.database import Database
from chat.errors import DatabaseUnavailable, DuplicatedChannel, IdleChannel, InvalidChannel
from chat.registry import ChannelRecord, Fate, MemoryRegistry, Registry
from chat.registry.boot import VOLATILE, boot_id
from chat.registry.sql import SqlRegistry
from tests.chat.fakes import LastingRegistry
from tests.chat.steps import never_yields

NEVER_YIELDS = ["memory"]
DATABASES = ["sqlite", "postgresql"]
LASTING = ["fake", *DATABASES]


@pytest.fixture(params=["memory", *LASTING])
def backend(request) -> str:
    return request.param


@pytest.fixture
def database_url(backend, tmp_path, request) -> str:
    return f"sqlite:///{tmp_path}/chat.db" if backend == "sqlite" else request.getfixturevalue("postgres").url


@pytest.fixture
def registry(backend, clock, request) -> Registry:
    if backend == "memory":
        return MemoryRegistry(clock)
    if backend == "fake":
        return LastingRegistry(clock)
    return SqlRegistry(request.getfixturevalue("database"))


def test_there_are_no_channels_at_first(registry):
    assert registry.names() == []


def test_a_new_channel_has_an_epoch_and_an_empty_log(registry):
    record = registry.create("lobby", "ada")

    assert record == ChannelRecord("lobby", record.epoch, record.log, 0, "ada", Fate.NEW)
    assert len(record.epoch) >= 16
    assert len(record.log) >= 16


def test_nobody_need_have_created_it(registry):
    assert registry.create("lobby").created_by == ""


def test_no_two_epochs_are_alike(registry):
    assert len({registry.create(f"room {number}").epoch for number in range(20)}) == 20


def test_names_are_told_sorted(registry):
    for name in ("zoo", "Äther", "attic", "Barn"):
        registry.create(name)

    assert registry.names() == ["Barn", "attic", "zoo", "Äther"]


def test_a_name_belongs_to_one_channel(registry):
    record = registry.create("lobby")

    with pytest.raises(DuplicatedChannel) as caught:
        registry.create("lobby")

    assert caught.value.channel == "lobby"
    registry.put_back("lobby", 3)
    assert registry.take("lobby").epoch == record.epoch


def test_names_differ_by_case(registry):
    registry.create("lobby")
    registry.create("Lobby")

    assert registry.names() == ["Lobby", "lobby"]


def test_of_several_who_create_at_once_one_succeeds(registry):
    def create() -> bool:
        try:
            registry.create("lobby")
        except DuplicatedChannel:
            return False
        return True

    attempts = [gevent.spawn(create) for _ in range(8)]
    gevent.joinall(attempts, timeout=5)

    assert [attempt.value for attempt in attempts].count(True) == 1


def test_what_does_not_exist_cannot_be_taken(registry):
    with pytest.raises(InvalidChannel) as caught:
        registry.take("lobby")

    assert caught.value.channel == "lobby"


def test_a_channel_that_was_put_back_goes_on_where_it_was(registry):
    record = registry.create("lobby", "ada")
    registry.put_back("lobby", 17)

    assert registry.take("lobby") == replace(record, offset=17, fate=Fate.PUT_BACK)


def test_it_can_be_taken_and_put_back_again_and_again(registry):
    record = registry.create("lobby")
    for offset in (3, 3, 4, 1 << 40):
        registry.put_back("lobby", offset)
        assert registry.take("lobby") == replace(record, offset=offset, fate=Fate.PUT_BACK)


def test_an_unloaded_channel_keeps_its_name(registry):
    registry.create("lobby")
    registry.put_back("lobby", 0)

    assert registry.names() == ["lobby"]
    with pytest.raises(DuplicatedChannel):
        registry.create("lobby")


def test_a_closed_name_is_free_at_once(registry):
    first = registry.create("lobby")
    registry.close("lobby")

    assert registry.names() == []
    second = registry.create("lobby")
    assert second.offset == 0
    assert second.epoch != first.epoch


def test_a_closed_channel_cannot_be_taken(registry):
    registry.create("lobby")
    registry.close("lobby")

    with pytest.raises(InvalidChannel):
        registry.take("lobby")


def test_an_unloaded_channel_can_be_closed(registry):
    registry.create("lobby")
    registry.put_back("lobby", 5)
    registry.close("lobby")

    assert registry.names() == []


def test_a_name_can_be_closed_and_made_again_many_times(registry):
    epochs = set()
    for _ in range(5):
        epochs.add(registry.create("lobby").epoch)
        registry.close("lobby")

    assert len(epochs) == 5


def test_closing_and_putting_back_the_unknown_does_nothing(registry):
    registry.close("lobby")
    registry.close("lobby", idle=True)
    registry.put_back("lobby", 3)

    assert registry.names() == []
    with pytest.raises(InvalidChannel):
        registry.take("lobby")


def test_closing_twice_is_closing_once(registry):
    registry.create("lobby")
    registry.create("attic")
    registry.close("lobby")
    registry.close("lobby")

    assert registry.names() == ["attic"]


def test_what_was_put_back_after_its_end_stays_ended(registry):
    registry.create("lobby")
    registry.close("lobby")
    registry.put_back("lobby", 9)

    assert registry.names() == []
    assert registry.create("lobby").offset == 0


def test_a_sweep_touches_no_open_channel(registry, clock):
    record = registry.create("lobby")
    registry.create("attic")
    registry.put_back("lobby", 4)
    clock.advance(100.0)

    assert registry.sweep(0.0) == []
    assert registry.names() == ["attic", "lobby"]
    assert registry.take("lobby") == replace(record, offset=4, fate=Fate.PUT_BACK)


def test_a_sweep_tells_the_logs_that_nobody_needs_any_more_and_tells_them_once(registry):
    logs = [registry.create(name).log for name in ("lobby", "attic", "zoo")]
    registry.close("lobby")
    registry.close("attic", idle=True)
    registry.put_back("attic", 0)

    told = registry.sweep(0.0)

    assert sorted(told) == sorted(logs[:2])
    assert registry.sweep(0.0) == []


def test_what_has_ended_is_told_until_it_is_swept(registry):
    logs = [registry.create(name).log for name in ("lobby", "attic", "zoo")]
    registry.close("lobby")
    registry.close("attic", idle=True)

    for _ in range(2):
        assert logs[0] in registry.ended(0.0)
        assert logs[2] not in registry.ended(0.0)
        assert registry.ended(100.0) == []
    assert sorted(registry.ended(0.0)) == sorted(registry.sweep(0.0))
    assert registry.ended(0.0) == []


def test_the_logs_of_the_open_channels_are_told_by_name(registry):
    logs = {name: registry.create(name).log for name in ("lobby", "attic", "zoo")}
    registry.put_back("attic", 0)
    registry.close("zoo")

    assert registry.logs() == {name: logs[name] for name in ("lobby", "attic")}


def test_no_two_channels_share_a_log_though_they_have_the_same_name(registry):
    first = registry.create("lobby").log
    registry.close("lobby")

    assert len({first, registry.create("lobby").log, registry.create("attic").log}) == 3


def test_a_renewed_channel_has_another_epoch_and_the_same_log(registry):
    record = registry.create("lobby", "ada")

    renewed = registry.renew("lobby", 21)

    assert renewed.epoch not in ("", record.epoch)
    assert renewed == replace(record, epoch=renewed.epoch, offset=21, fate=Fate.PUT_BACK)
    registry.put_back("lobby", 22)
    assert registry.take("lobby") == replace(renewed, offset=22)


@pytest.mark.parametrize("end", [None, "lobby"])
def test_what_is_not_open_cannot_be_renewed(registry, end):
    if end is not None:
        registry.create(end)
        registry.close(end)

    with pytest.raises(InvalidChannel):
        registry.renew("lobby", 3)


def test_a_swept_name_can_be_made_again(registry):
    registry.create("lobby")
    registry.close("lobby")
    registry.sweep(0.0)

    assert registry.create("lobby").offset == 0


def test_of_many_that_are_put_back_at_once_each_goes_on_where_it_was(registry):
    records = [registry.create(f"room {number}") for number in range(30)]
    registry.close("room 7")

    putting = [gevent.spawn(registry.put_back, record.name, offset) for offset, record in enumerate(records)]
    gevent.joinall(putting, timeout=5, raise_error=True)

    for offset, record in enumerate(records):
        if offset != 7:
            assert registry.take(record.name) == replace(record, offset=offset, fate=Fate.PUT_BACK)
    with pytest.raises(InvalidChannel):
        registry.take("room 7")


@pytest.mark.parametrize("name", ["x' OR '1'='1", "50% _off_", "漢字 🦊", "é" * 64, 'a\\b"c`d'])
def test_any_name_comes_back_as_it_was(registry, name):
    registry.create(name, name)
    registry.put_back(name, 1)

    assert registry.take(name).name == name
    assert registry.take(name).created_by == name
    assert registry.names() == [name]


def test_the_key_tells_channels_of_one_name_apart(registry):
    first = registry.create("lobby")
    registry.close("lobby")
    second = registry.create("lobby")

    assert first.key != second.key
    assert first.key.startswith("lobby/")


@pytest.mark.parametrize("backend", NEVER_YIELDS, indirect=True)
def test_it_never_yields_where_it_says_so(registry):
    with never_yields():
        registry.create("lobby")
        registry.put_back("lobby", 3)
        registry.take("lobby")
        registry.renew("lobby", 3)
        registry.names()
        registry.logs()
        registry.close("lobby", idle=True)
        registry.ended(0.0)
        registry.sweep(0.0)


# Those that end with the process: an idle channel ends, and it is remembered that it was idle.


@pytest.fixture
def memory(clock) -> MemoryRegistry:
    return MemoryRegistry(clock)


def test_memory_does_not_last(memory):
    assert memory.lasting is False


def test_an_idle_channel_is_told_from_one_that_never_was(memory):
    memory.create("lobby")
    memory.close("lobby", idle=True)

    with pytest.raises(IdleChannel) as caught:
        memory.take("lobby")

    assert caught.value.channel == "lobby"


def test_an_idle_name_is_free_at_once_and_then_idle_no_more(memory):
    memory.create("lobby")
    memory.close("lobby", idle=True)
    memory.create("lobby")
    memory.close("lobby")

    with pytest.raises(InvalidChannel):
        memory.take("lobby")


def test_what_was_not_open_does_not_become_idle(memory):
    memory.close("lobby", idle=True)

    with pytest.raises(InvalidChannel):
        memory.take("lobby")


def test_a_sweep_forgets_what_ended_long_enough_ago(memory, clock):
    for name in ("old", "new"):
        memory.create(name)
    memory.close("old", idle=True)
    clock.advance(10.0)
    memory.close("new", idle=True)
    clock.advance(20.0)

    memory.sweep(30.0)  # `old` ended exactly 30 seconds ago

    with pytest.raises(InvalidChannel):
        memory.take("old")
    with pytest.raises(IdleChannel):
        memory.take("new")


# Those that last


@pytest.fixture
def reopen(backend, clock, request):
    """Opens the database as several processes would, one after the other."""
    if backend == "fake":
        fake = LastingRegistry(clock)
        return lambda: fake
    open_database = request.getfixturevalue("open_database")
    return lambda: SqlRegistry(open_database())


@pytest.fixture
def lasting(reopen) -> Registry:
    return reopen()


@pytest.mark.parametrize("backend", LASTING, indirect=True)
class TestLasting:
    def test_it_says_so(self, lasting):
        assert lasting.lasting is True

    def test_a_channel_outlives_the_process(self, lasting, reopen):
        record = lasting.create("lobby", "ada")
        lasting.put_back("lobby", 12)

        assert reopen().take("lobby") == replace(record, offset=12, fate=Fate.PUT_BACK)

    def test_after_a_crash_it_stands_where_it_was_and_who_takes_it_is_told(self, lasting, reopen):
        record = lasting.create("lobby", "ada")
        lasting.put_back("lobby", 12)
        lasting.take("lobby")  # and never put back

        assert reopen().take("lobby") == replace(record, offset=12, fate=Fate.PROCESS_DIED)

    def test_who_takes_it_and_dies_too_changes_nothing_about_that(self, lasting, reopen):
        record = lasting.create("lobby")
        reopen().take("lobby")

        assert reopen().take("lobby") == replace(record, fate=Fate.PROCESS_DIED)

    def test_once_it_is_put_back_all_is_well_again(self, lasting, reopen):
        record = lasting.create("lobby")
        successor = reopen()
        successor.take("lobby")
        successor.put_back("lobby", 2)

        assert reopen().take("lobby") == replace(record, offset=2, fate=Fate.PUT_BACK)

    def test_a_new_epoch_lasts_too(self, lasting, reopen):
        lasting.create("lobby")
        successor = reopen()
        successor.take("lobby")
        renewed = successor.renew("lobby", 7)
        successor.put_back("lobby", 9)

        assert reopen().take("lobby") == replace(renewed, offset=9)

    def test_a_closed_channel_stays_closed(self, lasting, reopen):
        lasting.create("lobby")
        lasting.close("lobby")

        assert reopen().names() == []

    def test_an_idle_channel_does_not_become_invalid_but_is_unloaded(self, lasting):
        lasting.create("lobby")
        lasting.put_back("lobby", 1)

        assert lasting.take("lobby").offset == 1

    def test_of_several_who_take_at_once_one_gets_what_was_put_back(self, lasting):
        lasting.create("lobby")
        lasting.put_back("lobby", 3)

        takers = [gevent.spawn(lasting.take, "lobby") for _ in range(4)]
        gevent.joinall(takers, timeout=5, raise_error=True)

        assert [taker.value.fate for taker in takers].count(Fate.PUT_BACK) == 1


on_sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
on_both = pytest.mark.parametrize("backend", DATABASES, indirect=True)


class TestBoot:
    """What is known of the machine in which a channel was taken."""

    @pytest.fixture
    def boot(self, open_database):
        """Opens the database as a process does after that boot."""
        return lambda id: SqlRegistry(open_database(), id)

    def fate(self, registry: Registry) -> Fate:
        return registry.take("lobby").fate

    @on_both
    def test_only_sqlite_may_have_lost_something_when_the_machine_has_died(self, boot, backend):
        boot("b1").create("lobby")

        assert self.fate(boot("b2")) is (Fate.MACHINE_DIED if backend == "sqlite" else Fate.PROCESS_DIED)

    @on_both
    def test_within_one_boot_a_process_died(self, boot):
        boot("b1").create("lobby")

        assert self.fate(boot("b1")) is Fate.PROCESS_DIED

    @on_both
    def test_that_it_was_put_back_proves_nothing_where_the_last_who_took_it_may_be_lost_too(self, boot, backend):
        registry = boot("b1")
        registry.create("lobby")
        registry.put_back("lobby", 3)

        assert self.fate(boot("b2")) is (Fate.MACHINE_DIED if backend == "sqlite" else Fate.PUT_BACK)

    @on_both
    def test_within_one_boot_what_was_put_back_was_put_back(self, boot):
        registry = boot("b1")
        registry.create("lobby")
        registry.put_back("lobby", 3)

        assert self.fate(boot("b1")) is Fate.PUT_BACK

    @on_both
    def test_what_a_server_without_an_archive_has_numbered_is_lost_with_it(self, boot):
        boot(VOLATILE).create("lobby")

        assert self.fate(boot("b1")) is Fate.MACHINE_DIED

    @on_both
    def test_so_it_is_by_the_first_archive_though_it_was_put_back(self, boot):
        registry = boot(VOLATILE)
        registry.create("lobby")
        registry.put_back("lobby", 3)

        assert self.fate(boot(VOLATILE)) is Fate.PUT_BACK
        registry.put_back("lobby", 3)
        assert self.fate(boot("b1")) is Fate.MACHINE_DIED

    @pytest.mark.parametrize(("first", "second"), [("", "b2"), ("b1", ""), ("", "")])
    @on_both
    def test_where_nothing_tells_a_process_died(self, boot, first, second):
        boot(first).create("lobby")

        assert self.fate(boot(second)) is Fate.PROCESS_DIED

    @on_sqlite
    def test_the_machine_has_died_until_the_epoch_is_renewed(self, boot):
        boot("b1").create("lobby")
        successor = boot("b2")
        assert [self.fate(successor), self.fate(boot("b2"))] == [Fate.MACHINE_DIED] * 2

        successor.renew("lobby", 3)

        assert self.fate(boot("b2")) is Fate.PROCESS_DIED

    @on_sqlite
    def test_once_it_is_renewed_the_boot_that_counts_is_this_one(self, boot):
        second = boot("b2")
        boot("b1").create("lobby")
        second.take("lobby")
        second.renew("lobby", 1)
        second.put_back("lobby", 2)

        assert self.fate(boot("b2")) is Fate.PUT_BACK


def test_a_boot_is_known_by_its_id(tmp_path):
    (tmp_path / "id").write_text("9f7b0c3e\n")

    assert boot_id(tmp_path / "id") == "9f7b0c3e"
    assert boot_id(tmp_path / "id") != boot_id()


def test_where_there_is_no_such_id_none_is_made_up(tmp_path):
    assert boot_id(tmp_path / "missing") == ""


@pytest.mark.parametrize("backend", DATABASES, indirect=True)
def test_a_sweep_deletes_only_what_ended_long_enough_ago(lasting, database):
    lasting.create("lobby")
    lasting.close("lobby")
    lasting.create("lobby")

    lasting.sweep(3600.0)
    assert len(rows(database)) == 2
    lasting.sweep(0.0)
    assert len(rows(database)) == 1
    assert lasting.names() == ["lobby"]


class Gated:
    """A database that does nothing before `go`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.asked = 0
        self.go = Event()

    def run(self, work):
        self._pass()
        return self._database.run(work)

    def write(self, work):
        self._pass()
        return self._database.write(work)

    def _pass(self) -> None:
        self.asked += 1
        self.go.wait(5)


@pytest.fixture
def gated(database) -> Gated:
    SqlRegistry(database).create("lobby")
    return Gated(database)


@pytest.mark.parametrize("backend", DATABASES, indirect=True)
class TestOrder:
    def test_nobody_takes_what_is_being_closed(self, gated):
        registry = SqlRegistry(gated)

        def take() -> None:
            with pytest.raises(InvalidChannel):
                registry.take("lobby")

        both = [gevent.spawn(registry.close, "lobby"), gevent.spawn(take)]
        gevent.idle()
        assert gated.asked == 1

        gated.go.set()

        gevent.joinall(both, timeout=5, raise_error=True)

    def test_who_is_killed_while_it_waits_lets_nobody_overtake(self, gated):
        registry = SqlRegistry(gated)
        closing = gevent.spawn(registry.close, "lobby")
        killed = gevent.spawn(registry.take, "lobby")
        gevent.idle()
        killed.kill()
        creating = gevent.spawn(registry.create, "lobby")
        gevent.idle()
        assert gated.asked == 1

        gated.go.set()

        closing.get(timeout=5)
        assert creating.get(timeout=5).name == "lobby"

    def test_channels_do_not_wait_for_each_other(self, gated):
        registry = SqlRegistry(gated)
        both = [gevent.spawn(registry.close, "lobby"), gevent.spawn(registry.create, "attic")]
        gevent.idle()

        assert gated.asked == 2
        gated.go.set()
        gevent.joinall(both, timeout=5, raise_error=True)


@pytest.mark.parametrize("backend", DATABASES, indirect=True)
class TestPuttingBackAtOnce:
    @pytest.fixture
    def registry(self, gated) -> Registry:
        return SqlRegistry(gated)

    @pytest.fixture
    def records(self, database) -> list[ChannelRecord]:
        open_at_once = SqlRegistry(database)
        return [open_at_once.create(f"room {number}") for number in range(5)]

    def test_what_waits_shares_a_transaction(self, registry, records, gated):
        putting = [gevent.spawn(registry.put_back, f"room {number}", number) for number in range(5)]
        gevent.idle()
        gated.go.set()
        gevent.joinall(putting, timeout=5, raise_error=True)

        assert gated.asked == 1
        assert [registry.take(f"room {number}").fate for number in range(5)] == [Fate.PUT_BACK] * 5

    def test_nobody_takes_what_is_being_put_back(self, registry, records, gated):
        putting = [gevent.spawn(registry.put_back, f"room {number}", 7) for number in range(5)]
        taking = gevent.spawn(registry.take, "room 4")
        gevent.idle()
        assert gated.asked == 1

        gated.go.set()

        assert taking.get(timeout=5) == replace(records[4], offset=7, fate=Fate.PUT_BACK)
        gevent.joinall(putting, timeout=5, raise_error=True)

    def test_who_is_killed_meanwhile_costs_nobody_else_anything(self, registry, records, gated):
        first, second, third = [gevent.spawn(registry.put_back, f"room {number}", 7) for number in range(3)]
        gevent.idle()
        gevent.killall([first, second], block=False)
        gevent.idle()

        gated.go.set()

        third.get(timeout=5)
        gevent.joinall([first, second], timeout=5)
        assert registry.take("room 2") == replace(records[2], offset=7, fate=Fate.PUT_BACK)
        assert registry.take("room 1").fate is Fate.PROCESS_DIED  # as after a crash

    def test_what_fails_fails_for_all_who_share_it_and_can_be_tried_again(self, registry, database, gated):
        def put_back(number: int) -> None:
            with pytest.raises(DatabaseUnavailable):
                registry.put_back(f"room {number}", 7)

        putting = [gevent.spawn(put_back, number) for number in range(3)]
        gevent.idle()
        database.close()
        gated.go.set()
        gevent.joinall(putting, timeout=5, raise_error=True)
        assert gated.asked == 1

        put_back(0)

        assert gated.asked == 2


def rows(database: Database) -> list[tuple[object, ...]]:
    return database.run(
        lambda session: [tuple(row) for row in session.execute(text("SELECT name, closed_at FROM chat_channels"))]
    )
