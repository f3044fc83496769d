"""A broker over an archive, which is written ahead: what becomes of events when it is slow, refuses, or fails halfway."""

import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import gevent
import pytest

from chat.archive import Archive, MemoryArchive
from chat.archive.sql import SqlArchive
from chat.broker import MemoryBroker
from chat.database import Database, upgrade
from chat.errors import BrokerUnavailable, NotStorable
from chat.event import Deleted, Edited, Joined, Logged, Message, User, Whisper
from chat.schema import CHAT
from chat.testing import TurnedClock
from tests.chat.contracts.hearing import DATE, LOBBY, Heard, say
from tests.chat.contracts.troubled import Troubled
from tests.chat.steps import never_yields, wait_until


@pytest.fixture
def archive(clock) -> Troubled:
    return Troubled(clock)


@pytest.fixture
def broker(archive, clock) -> MemoryBroker:
    return MemoryBroker(archive, recent=5, clock=clock)


@pytest.fixture
def heard(broker) -> Heard:
    heard = Heard()
    broker.open(LOBBY, heard)
    return heard


def kept(archive: Archive) -> list[tuple[int, str]]:
    return [(event.offset, event.text) for event in archive.read(LOBBY.log, 0, 1000)]


def message(text: str, id: str) -> Message:
    return Message("ada", text, DATE, id)


JOIN = Joined(User("bob"), DATE)


def test_it_is_logged_before_anybody_hears_it(broker, archive, heard):
    archive.go.clear()
    publishing = gevent.spawn(broker.publish, LOBBY.key, say("one", "two"))
    gevent.idle()
    assert (archive.appends, heard.events, broker.last(LOBBY.key)) == ([["one", "two"]], [], 0)

    archive.go.set()

    assert publishing.get(timeout=2) == [1, 2]
    assert kept(archive) == [(event.offset, event.text) for event in heard.events] == [(1, "one"), (2, "two")]


def test_what_is_not_logged_waits_for_no_log(broker, archive, heard):
    archive.go.clear()
    publishing = gevent.spawn(broker.publish, LOBBY.key, say("one"))
    gevent.idle()
    with never_yields():
        for number in range(3):
            assert broker.publish(LOBBY.key, [Whisper("ada", "bob", f"psst {number}", DATE, f"k{number}"), JOIN]) == [0, 0]
    assert len(heard.events) == 6

    archive.go.set()
    publishing.get(timeout=2)

    assert heard.events[-1].text == "one"
    assert archive.appends == [["one"]]


def test_a_whisper_that_was_heard_meanwhile_is_not_heard_behind_the_log_again(broker, archive, heard):
    archive.go.clear()
    whisper = Whisper("ada", "bob", "psst", DATE, "k1")
    publishing = gevent.spawn(broker.publish, LOBBY.key, [*say("one"), whisper])
    gevent.idle()
    broker.publish(LOBBY.key, [whisper])

    archive.go.set()
    publishing.get(timeout=2)

    assert heard.texts == ["psst", "one"]


def test_what_was_certainly_not_kept_is_not_heard_and_takes_no_offset(broker, archive, heard):
    archive.faults = ["unavailable"]
    with pytest.raises(BrokerUnavailable):
        broker.publish(LOBBY.key, [*say("lost"), JOIN])
    assert (heard.events, broker.last(LOBBY.key)) == ([], 0)

    assert list(broker.publish(LOBBY.key, say("kept"))) == [1]
    assert kept(archive) == [(1, "kept")]


def test_what_was_kept_although_it_failed_is_heard_before_the_next_and_keeps_its_offset(broker, archive, heard):
    archive.faults = ["kept"]
    with pytest.raises(BrokerUnavailable):
        broker.publish(LOBBY.key, say("one", "two"))
    assert (heard.events, broker.last(LOBBY.key)) == ([], 0)

    assert list(broker.publish(LOBBY.key, say("three"))) == [3]
    assert kept(archive) == [(event.offset, event.text) for event in heard.events] == [(1, "one"), (2, "two"), (3, "three")]


def test_before_it_is_known_what_was_kept_nothing_is_published_at_once(broker, archive, heard):
    archive.faults, archive.moments = ["kept"], ["kept"]
    with pytest.raises(BrokerUnavailable):
        broker.publish(LOBBY.key, say("one"))

    assert broker.publish_at_once(LOBBY.key, say("two")) is None
    assert broker.publish(LOBBY.key, say("two")) == [2]
    assert archive.moments == ["kept"]  # it was not even asked
    assert heard.texts == ["one", "two"]


def test_what_was_kept_at_once_unnoticed_is_heard_and_acked_once(broker, archive, heard):
    archive.moments = ["kept unnoticed"]
    events = [*say("one", "two"), JOIN]

    assert broker.publish_at_once(LOBBY.key, events) is None
    assert heard.events == []
    assert broker.publish(LOBBY.key, [*events, *say("three")]) == [1, 2, 0, 3]
    assert kept(archive) == [(1, "one"), (2, "two"), (3, "three")]
    assert heard.events[:3] == events


def test_said_again_it_is_acked_as_what_it_was(broker, archive, heard):
    archive.faults = ["kept"]
    batch = [message("one", "k1"), message("two", "k2")]
    with pytest.raises(BrokerUnavailable):
        broker.publish(LOBBY.key, batch)

    assert list(broker.publish(LOBBY.key, [*reversed(batch), *say("three")])) == [2, 1, 3]
    assert heard.texts == ["one", "two", "three"]


def test_whoever_asks_by_its_id_is_told_too(broker, archive, heard):
    archive.faults = ["kept"]
    with pytest.raises(BrokerUnavailable):
        broker.publish(LOBBY.key, [message("one", "k1")])

    assert broker.said(LOBBY.key, "ada", "k1") == 1
    assert heard.texts == ["one"]


def test_what_was_kept_only_after_we_had_looked_takes_nobodys_offset(broker, archive, heard):
    archive.faults = ["late"]
    with pytest.raises(BrokerUnavailable):
        broker.publish(LOBBY.key, [message("one", "k1")])
    with pytest.raises(BrokerUnavailable):  # it comes to its end between our looking and our writing
        broker.publish(LOBBY.key, [message("two", "k2")])
    assert heard.events == []

    assert list(broker.publish(LOBBY.key, [message("two", "k2")])) == [2]
    assert heard.texts == ["one", "two"]


@pytest.mark.parametrize("age", [0.0, 4.0])
def test_what_retention_took_before_we_had_looked_keeps_its_offset_all_the_same(broker, archive, heard, clock, age):
    broker.publish(LOBBY.key, [Message("ada", "zero", clock.now(), "zero")])
    archive.faults = ["kept"]
    with pytest.raises(BrokerUnavailable):
        broker.publish(LOBBY.key, [Message("ada", text, clock.now(), text) for text in ("one", "two")])
    clock.advance(5)
    archive.trim(age, 0 if age else 1)

    assert list(broker.publish(LOBBY.key, [Message("ada", "three", clock.now(), "three")])) == [4]
    assert heard.texts == (["zero", "three"] if age else ["zero", "two", "three"])
    assert [past.text for past in broker.history(LOBBY.key, limit=9)[0]] == heard.texts[1:]
    begin = 3 if age else 2
    assert broker.recent(LOBBY.key, begin, 10) == heard.events[1:]
    assert [broker.read(LOBBY.key, after, 10) for after in range(begin)] == [None] * begin


def test_who_is_killed_while_it_is_written_leaves_no_hole_and_no_offset_to_two(broker, archive, heard):
    archive.go.clear()
    killed = gevent.spawn(broker.publish, LOBBY.key, [message("one", "k1")])
    gevent.idle()
    killed.kill()
    MemoryArchive.append(archive, LOBBY.log, [Message("ada", "one", DATE, "k1", 1)])  # by the thread that went on
    archive.go.set()

    assert list(broker.publish(LOBBY.key, [message("two", "k2")])) == [2]
    assert heard.texts == ["one", "two"]


def test_more_than_is_read_at_once_is_taken_over_too(broker, archive, heard):
    archive.faults = ["kept"]
    with pytest.raises(BrokerUnavailable):
        broker.publish(LOBBY.key, say(*map(str, range(1, 2001))))

    assert list(broker.publish(LOBBY.key, say("2001"))) == [2001]
    assert heard.texts == [str(number) for number in range(1, 2002)]


def test_one_that_cannot_be_kept_costs_nobody_else_anything(broker, archive, heard):
    found = broker.publish(LOBBY.key, [*say("one", "two", "bad", "three"), JOIN, *say("four")])

    assert isinstance(found[2], NotStorable)
    assert [*found[:2], *found[3:]] == [1, 2, 3, 0, 4]
    assert kept(archive) == [(1, "one"), (2, "two"), (3, "three"), (4, "four")]
    assert [event.offset for event in heard.events if isinstance(event, Logged)] == [1, 2, 3, 4]
    assert JOIN in heard.events


def test_alone_it_leaves_all_as_it_was(broker, archive, heard):
    (found,) = broker.publish(LOBBY.key, say("bad"))

    assert isinstance(found, NotStorable)
    assert (kept(archive), heard.events, broker.last(LOBBY.key)) == ([], [], 0)


def test_who_says_it_twice_is_refused_twice_and_may_say_something_else_by_that_id(broker, archive, heard):
    found = broker.publish(LOBBY.key, [message("bad", "k1"), message("bad", "k1"), message("good", "k2")])

    assert [isinstance(outcome, NotStorable) for outcome in found] == [True, True, False]
    assert list(broker.publish(LOBBY.key, [message("better", "k1")])) == [2]


def test_when_the_archive_fails_between_two_halves_nothing_is_heard_yet_and_nothing_lost(broker, archive, heard):
    archive.faults = ["none", "none", "unavailable"]
    batch = [message(text, text) for text in ("one", "two", "bad", "four")]
    with pytest.raises(BrokerUnavailable):
        broker.publish(LOBBY.key, batch)
    assert (heard.events, kept(archive)) == ([], [(1, "one"), (2, "two")])

    found = broker.publish(LOBBY.key, batch)

    assert [*found[:2], found[3]] == [1, 2, 3]
    assert isinstance(found[2], NotStorable)
    assert heard.texts == ["one", "two", "four"]


def test_a_channel_that_was_closed_meanwhile_hears_nothing(broker, archive, heard):
    archive.go.clear()
    publishing = gevent.spawn(broker.publish, LOBBY.key, say("one"))
    gevent.idle()
    broker.close(LOBBY.key)
    archive.go.set()

    assert publishing.get(timeout=2) == [1]
    assert heard.events == []
    assert kept(archive) == [(1, "one")]


def test_channels_do_not_wait_for_each_other(broker, archive, heard):
    other = replace(LOBBY, name="attic", log="l2")
    broker.open(other, Heard())
    archive.go.clear()
    publishing = [gevent.spawn(broker.publish, key, say("one")) for key in (LOBBY.key, other.key)]
    gevent.idle()

    assert archive.appends == [["one"], ["one"]]
    archive.go.set()
    gevent.joinall(publishing, timeout=2, raise_error=True)


# What is at hand, and what is asked of the archive


def test_what_is_at_hand_is_not_asked_of_the_archive(broker, archive, heard):
    broker.publish(LOBBY.key, say(*map(str, range(1, 9))))  # of which 4 to 8 are at hand

    broker.read(LOBBY.key, 3, 10)
    broker.find(LOBBY.key, 4)
    broker.history(LOBBY.key, limit=4)
    broker.history(LOBBY.key, after=3, limit=2)
    broker.read(LOBBY.key, 9, 10)  # beyond the end
    assert archive.reads == 0

    broker.read(LOBBY.key, 2, 10)
    broker.find(LOBBY.key, 3)
    broker.history(LOBBY.key, limit=5)
    broker.history(LOBBY.key, after=2, limit=1)
    assert archive.reads == 4


def test_history_tells_nothing_that_was_not_heard(broker, archive, heard):
    broker.publish(LOBBY.key, say(*map(str, range(1, 9))))
    archive.faults = ["kept"]
    with pytest.raises(BrokerUnavailable):
        broker.publish(LOBBY.key, say("unheard"))

    assert [past.text for past in broker.history(LOBBY.key, limit=6)[0]] == ["3", "4", "5", "6", "7", "8"]
    assert broker.read(LOBBY.key, 0, 10) == heard.events


def test_nor_does_it_when_it_goes_on_from_an_offset_or_back_from_one_that_is_to_come(broker, archive, heard):
    broker.publish(LOBBY.key, say(*map(str, range(1, 9))))
    archive.faults = ["kept"]
    with pytest.raises(BrokerUnavailable):
        broker.publish(LOBBY.key, say("unheard"))

    for where in ({"after": 0}, {"before": 99}):
        found, more = broker.history(LOBBY.key, limit=10, **where)
        assert ([past.offset for past in found], more) == ([1, 2, 3, 4, 5, 6, 7, 8], False)


def test_a_delete_that_was_kept_although_it_failed_is_heard_before_its_message_is_judged(broker, archive, heard):
    broker.publish(LOBBY.key, say("one"))
    archive.faults = ["kept"]
    with pytest.raises(BrokerUnavailable):
        broker.publish(LOBBY.key, [Deleted(1, "ada", DATE)])

    assert broker.find(LOBBY.key, 1).deleted == DATE
    assert len(heard.events) == 2


def test_an_edit_behind_a_delete_is_not_at_hand_with_its_text(broker, heard):
    broker.publish(LOBBY.key, [*say("one"), Deleted(1, "ada", DATE), Edited(1, "ada", "secret", DATE)])

    assert broker.recent(LOBBY.key, 2, 1)[0].text == ""


def test_what_retention_has_taken_cannot_be_read(broker, archive, heard):
    broker.publish(LOBBY.key, say(*map(str, range(1, 9))))
    archive.trim(0, 7)

    assert broker.read(LOBBY.key, 0, 10) is None
    assert [event.offset for event in broker.read(LOBBY.key, 1, 10)] == [2, 3, 4, 5, 6, 7, 8]

    archive.faults = ["kept"]
    with pytest.raises(BrokerUnavailable):
        broker.publish(LOBBY.key, say("unheard"))
    assert broker.read(LOBBY.key, 0, 10) is None  # though there are as many


class TestOpening:
    """What an earlier process had written."""

    def opened(self, archive: Archive, clock: TurnedClock, offset: int, **more: float) -> MemoryBroker:
        broker = MemoryBroker(archive, clock=clock, recent=5, **more)
        broker.open(replace(LOBBY, offset=offset), Heard())
        return broker

    def write(self, archive: Archive, clock: TurnedClock, *offsets: int) -> None:
        events = [Message("ada", str(offset), clock.now(), f"k{offset}", offset) for offset in offsets]
        archive.append(LOBBY.log, events)

    def test_the_end_of_the_log_is_at_hand(self, archive, clock):
        self.write(archive, clock, *range(1, 9))
        broker = self.opened(archive, clock, 8)

        assert [event.offset for event in broker.recent(LOBBY.key, 3, 10)] == [4, 5, 6, 7, 8]
        assert broker.recent(LOBBY.key, 2, 10) is None

    def test_what_is_too_old_is_not(self, archive, clock):
        self.write(archive, clock, 1, 2)
        clock.advance(60)
        self.write(archive, clock, 3)
        broker = self.opened(archive, clock, 3, age=60.5)
        assert len(broker.recent(LOBBY.key, 0, 10)) == 3

        clock.advance(1)

        assert [event.offset for event in broker.recent(LOBBY.key, 2, 10)] == [3]
        assert broker.recent(LOBBY.key, 0, 10) is None

    @pytest.mark.parametrize(("offsets", "last", "begin"), [((1, 2, 5, 6), 6, 4), ((1, 2), 4, 4), ((), 4, 4)])
    def test_where_something_is_missing_nothing_before_it_counts(self, archive, clock, offsets, last, begin):
        self.write(archive, clock, *offsets)
        broker = self.opened(archive, clock, last)

        assert broker.read(LOBBY.key, begin - 1, 10) is None
        assert [event.offset for event in broker.read(LOBBY.key, begin, 10)] == list(range(begin + 1, last + 1))

    def test_ids_are_known_for_the_rest_of_their_5_minutes(self, archive, clock):
        self.write(archive, clock, 1)
        clock.advance(200)
        self.write(archive, clock, 2)
        broker = self.opened(archive, clock, 2)
        clock.advance(99)
        assert [broker.said(LOBBY.key, "ada", id) for id in ("k1", "k2")] == [1, 2]
        clock.advance(1)

        assert [broker.said(LOBBY.key, "ada", id) for id in ("k1", "k2")] == [0, 2]

    def test_with_the_clock_set_back_they_are_known_for_5_minutes_from_now(self, archive, clock):
        archive.append(LOBBY.log, [Message("ada", "1", clock.now() + timedelta(days=1), "k1", 1)])
        broker = self.opened(archive, clock, 1)
        clock.advance(299)
        assert broker.said(LOBBY.key, "ada", "k1") == 1
        clock.advance(1)

        assert broker.said(LOBBY.key, "ada", "k1") == 0

    def test_what_cannot_be_read_is_not_opened(self, clock):
        class Unreadable(MemoryArchive):
            def ids(self, *args):
                raise BrokerUnavailable

        broker = MemoryBroker(Unreadable(clock), clock=clock)
        with pytest.raises(BrokerUnavailable):
            broker.open(replace(LOBBY, offset=1), Heard())

        broker.open(LOBBY, Heard())  # a new one, of which there is nothing to be read
        assert broker.last(LOBBY.key) == 0


class TestPostgres:
    """A real server, which is stopped."""

    @pytest.fixture
    def sql(self, postgres, nothing_left_behind) -> Iterator[SqlArchive]:
        upgrade(postgres.url, CHAT)
        database = Database(postgres.url, CHAT)
        archive = SqlArchive(database)
        yield archive
        archive.close()
        database.close()

    def test_what_is_said_while_it_is_down_is_refused_and_all_goes_on_when_it_is_up(self, sql, postgres):
        broker, heard = MemoryBroker(sql), Heard()
        broker.open(LOBBY, heard)
        broker.publish(LOBBY.key, [message("one", "k1")])
        postgres.server.stop()
        try:
            for _ in range(2):
                with pytest.raises(BrokerUnavailable):
                    broker.publish(LOBBY.key, [message("two", "k2")])
            assert broker.recent(LOBBY.key, 0, 10) == heard.events
        finally:
            postgres.server.start()

        assert list(broker.publish(LOBBY.key, [message("two", "k2"), message("three", "k3")])) == [2, 3]
        assert kept(sql) == [(event.offset, event.text) for event in heard.events]

    def is_refused(self, broker: MemoryBroker, events: list[Message]) -> bool:
        try:
            broker.publish(LOBBY.key, events)
        except BrokerUnavailable:
            return True
        return False

    @pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
    def test_what_was_under_way_when_it_stopped_is_there_once_or_not_at_all(self, sql, postgres, how):
        broker, heard = MemoryBroker(sql), Heard()
        broker.open(LOBBY, heard)
        broker.publish(LOBBY.key, [message("one", "k1")])
        with closing(postgres.connect()) as other:
            other.execute("BEGIN")
            other.execute("LOCK TABLE chat_log IN EXCLUSIVE MODE")
            publishing = gevent.spawn(self.is_refused, broker, [message("two", "k2")])
            wait_until(lambda: other.execute(WAITING).fetchone() == (1,))
            postgres.server.stop(how)
            postgres.server.start()
        was_refused = publishing.get(timeout=10)  # not when the lock's owner was ended long enough before it
        assert heard.texts == (["one"] if was_refused else ["one", "two"])

        found = list(broker.publish(LOBBY.key, [message("two", "k2"), message("three", "k3")]))

        assert found == [2, 3]
        assert kept(sql) == [(event.offset, event.text) for event in heard.events] == [(1, "one"), (2, "two"), (3, "three")]


WAITING = "SELECT count(*)::int FROM pg_locks WHERE NOT granted"
