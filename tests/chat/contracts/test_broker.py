"""What every `Broker` must do.  A new backend adds a parameter to `broker`."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest

from chat.archive import Archive, MemoryArchive
from chat.archive.sql import SqlArchive
from chat.broker import Broker, MemoryBroker
from chat.broker.redis import RedisBroker
from chat.errors import ChannelClosed, ChatError
from chat.event import Deleted, Edited, IsTyping, Joined, Left, Message, Past, Presence, Published, User, Whisper
from chat.registry import ChannelRecord, Fate
from tests.chat.contracts.hearing import DATE, LOBBY, Alive, Heard, say
from tests.chat.steps import never_yields, wait_until

KEPT = 5  # how many events the brokers below keep at hand
AGE = 600.0  # seconds for which they do
REDIS = {"valkey": "valkey", "redis": "redis_server", "cluster": "cluster", "valkey, archived": "valkey"}
HERE = pytest.mark.parametrize("backend", ["memory"], indirect=True)
FORGETFUL = pytest.mark.parametrize("backend", ["memory", "valkey"], indirect=True)
LASTING = pytest.mark.parametrize("backend", ["archived", "archived, at once", "sqlite", "valkey, archived"], indirect=True)


class AtOnce(MemoryBroker):
    """Publishes at once what can be."""

    def publish(self, key: str, events: Sequence[Published]) -> Sequence[int | ChatError]:
        fates = self.publish_at_once(key, events)
        return super().publish(key, events) if fates is None else fates


@pytest.fixture(params=["memory", "archived", "archived, at once", "sqlite", *REDIS])
def backend(request) -> str:
    return request.param


@pytest.fixture
def database_url(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/chat.db"


@pytest.fixture
def archive(backend, clock, request) -> Iterator[Archive | None]:
    if backend in ("memory", "valkey", "redis", "cluster"):
        yield None
        return
    archive = SqlArchive(request.getfixturevalue("database"), clock) if backend == "sqlite" else MemoryArchive(clock)
    yield archive
    archive.close()


@pytest.fixture
def broker(backend, archive, clock, request) -> Iterator[Broker]:
    if backend in REDIS:
        server = request.getfixturevalue(REDIS[backend])
        bus = request.getfixturevalue("open_bus")(server.url if backend == "cluster" else server.unix_url)
        broker = RedisBroker(bus, Alive("p1"), archive, recent=KEPT, age=AGE, clock=clock)
        yield broker
        broker.stop()
        return
    kind = AtOnce if backend == "archived, at once" else MemoryBroker
    yield kind(archive, recent=KEPT, age=AGE, clock=clock)


@pytest.fixture
def heard(broker) -> Heard:
    heard = Heard()
    broker.open(LOBBY, heard)
    return heard


def test_a_publisher_hears_its_own_message(broker, heard):
    broker.publish(LOBBY.key, say("one"))

    assert heard.texts == ["one"]


def test_offsets_count_from_1(broker, heard):
    assert list(broker.publish(LOBBY.key, say("one", "two"))) == [1, 2]
    assert list(broker.publish(LOBBY.key, say("three"))) == [3]
    assert [event.offset for event in heard.events] == [1, 2, 3]


def test_a_batch_is_heard_as_one(broker, heard):
    broker.publish(LOBBY.key, say("one", "two", "three"))

    assert [len(batch) for batch in heard.batches] == [3]


def test_only_what_is_logged_takes_an_offset(broker, heard):
    events = [
        Joined(User("ada", "Ada"), DATE),
        *say("one"),
        Whisper("ada", "bob", "psst", DATE),
        *say("two"),
        Left("ada", DATE),
        Presence((User("ada"),), (), 1, DATE),
        Edited(1, "ada", "1", DATE),
        IsTyping(User("ada")),
        Deleted(2, "ada", DATE),
    ]

    offsets = list(broker.publish(LOBBY.key, events))

    assert offsets == [0, 1, 0, 2, 0, 0, 3, 0, 4]
    assert [getattr(event, "offset", 0) for event in heard.events] == offsets
    assert [type(event) for event in heard.events] == [type(event) for event in events]
    assert broker.last(LOBBY.key) == 4


def test_what_is_not_logged_leaves_no_hole(broker, heard):
    broker.publish(LOBBY.key, say("one"))
    broker.publish(LOBBY.key, [Joined(User("ada", "Ada"), DATE)])

    assert list(broker.publish(LOBBY.key, say("two"))) == [2]


def test_everything_arrives_as_it_was(broker, heard):
    event = Message("Ådä", "text\nmit 🦊", DATE, id="id-1", rendered=True)
    broker.publish(LOBBY.key, [event])

    assert heard.events == [Message("Ådä", "text\nmit 🦊", DATE, "id-1", 1, rendered=True)]
    assert broker.read(LOBBY.key, 0, 10) == heard.events


def test_an_empty_batch_changes_nothing(broker, heard):
    assert list(broker.publish(LOBBY.key, [])) == []
    assert broker.last(LOBBY.key) == 0


def test_a_channel_goes_on_where_its_record_stands(broker):
    heard = Heard()
    place = broker.open(ChannelRecord("attic", "e7", "l7", offset=41), heard)

    assert place == ("e7", 41) or (broker.shared and place.offset > 41)  # nobody there knows of it
    assert broker.last("attic/l7") == place.offset
    assert list(broker.publish("attic/l7", say("one"))) == [place.offset + 1]


def test_channels_count_and_hear_apart(broker, heard):
    others = Heard()
    broker.open(ChannelRecord("lobby", "e2", "l2", fate=Fate.NEW), others)  # the same name, another log
    broker.publish(LOBBY.key, say("one", "two"))

    assert list(broker.publish("lobby/l2", say("apart"))) == [1]
    assert heard.texts == ["one", "two"]
    assert others.texts == ["apart"]


def test_the_last_offset_of_an_empty_log_is_0(broker, heard):
    assert broker.last(LOBBY.key) == 0


def test_what_was_said_can_be_read(broker, heard):
    broker.publish(LOBBY.key, say("one", "two", "three"))

    found = broker.read(LOBBY.key, 1, 10)

    assert [(event.offset, event.text) for event in found] == [(2, "two"), (3, "three")]


def test_what_is_said_again_by_the_same_id_is_not_said_twice(broker, heard):
    first = list(broker.publish(LOBBY.key, [Message("ada", "one", DATE, id="k1"), *say("two")]))
    again = list(broker.publish(LOBBY.key, [Message("ada", "one", DATE, id="k1"), *say("three")]))

    assert (first, again) == ([1, 2], [1, 3])
    assert heard.texts == ["one", "two", "three"]
    assert broker.last(LOBBY.key) == 3


def test_not_in_one_batch_either(broker, heard):
    events = [Message("ada", "one", DATE, id="k1"), Message("ada", "other", DATE, id="k1"), *say("two")]

    assert list(broker.publish(LOBBY.key, events)) == [1, 1, 2]
    assert heard.texts == ["one", "two"]


def test_the_same_id_of_somebody_else_is_another_one(broker, heard):
    broker.publish(LOBBY.key, [Message("ada", "one", DATE, id="k1"), Message("bob", "two", DATE, id="k1")])

    assert heard.texts == ["one", "two"]


def test_after_5_minutes_an_id_is_forgotten(broker, heard, clock):
    for wait in (0.0, 299.0, 1.0, 300.0):
        clock.advance(wait)
        broker.publish(LOBBY.key, [Message("ada", "one", DATE, id="k1")])

    assert [event.offset for event in heard.events] == [1, 2, 3]


def test_at_the_end_there_is_nothing_to_read(broker, heard):
    broker.publish(LOBBY.key, say("one"))

    assert list(broker.read(LOBBY.key, 1, 10)) == []


def test_where_nothing_was_said_there_is_nothing_to_read(broker, heard):
    assert list(broker.read(LOBBY.key, 0, 10)) == []


@pytest.mark.parametrize("offset", [2, 3, 1 << 60])
def test_past_the_end_nothing_can_be_told(broker, heard, offset):
    broker.publish(LOBBY.key, say("one"))

    assert broker.read(LOBBY.key, offset, 10) is None


def test_a_gap_as_large_as_the_limit_is_filled(broker, heard):
    broker.publish(LOBBY.key, say("one", "two", "three"))

    assert len(broker.read(LOBBY.key, 0, 3)) == 3


def test_a_gap_over_the_limit_is_not_filled_at_all(broker, heard):
    broker.publish(LOBBY.key, say("one", "two", "three"))

    assert broker.read(LOBBY.key, 0, 2) is None


@FORGETFUL
def test_the_recent_log_is_bounded(broker, heard):
    for number in range(10 * KEPT):
        broker.publish(LOBBY.key, say(str(number)))

    assert [event.offset for event in broker.read(LOBBY.key, 9 * KEPT, 100)] == [46, 47, 48, 49, 50]
    assert broker.read(LOBBY.key, 9 * KEPT - 1, 100) is None


def test_what_was_said_before_the_record_was_taken_is_not_here(broker):
    _, begin = broker.open(ChannelRecord("attic", "e7", "l7", offset=41), Heard())
    broker.publish("attic/l7", say("one"))

    assert [event.offset for event in broker.read("attic/l7", begin, 100)] == [begin + 1]
    assert broker.read("attic/l7", begin - 1, 100) is None


def test_a_closed_channel_is_not_heard_of_any_more(broker, heard):
    others = Heard()
    broker.open(ChannelRecord("attic", "e1", "l3"), others)
    broker.publish(LOBBY.key, say("one"))
    broker.close(LOBBY.key)
    broker.publish("attic/l3", say("up here"))

    assert heard.texts == ["one"]
    assert others.texts == ["up here"]


def test_close_is_idempotent_and_ignores_the_unknown(broker, heard):
    broker.close(LOBBY.key)
    broker.close(LOBBY.key)
    broker.close("nowhere/l9")


def test_a_channel_that_was_closed_can_be_opened_where_it_stood(broker, heard):
    broker.publish(LOBBY.key, say("one", "two"))
    broker.close(LOBBY.key)
    broker.open(ChannelRecord("lobby", "e1", "l1", offset=2), heard)

    assert list(broker.publish(LOBBY.key, say("three"))) == [3]


def test_who_has_opened_it_closes_nobody_elses(broker, heard):
    others = Heard()
    broker.close(LOBBY.key, others)
    broker.publish(LOBBY.key, say("one"))
    assert heard.texts == ["one"]

    broker.close(LOBBY.key, heard)
    with pytest.raises(ChannelClosed):
        broker.publish(LOBBY.key, say("two"))


@HERE
def test_without_an_archive_it_never_yields(broker):
    with never_yields():
        broker.open(LOBBY, Heard())
        broker.publish(LOBBY.key, say("one"))
        broker.read(LOBBY.key, 0, 10)
        broker.find(LOBBY.key, 1)
        broker.history(LOBBY.key, limit=1)
        broker.close(LOBBY.key)


def test_what_is_at_hand_is_had_without_yielding(broker, heard):
    broker.publish(LOBBY.key, say("one"))
    with never_yields():
        assert broker.last(LOBBY.key) == 1
        assert broker.recent(LOBBY.key, 0, 10) == heard.events


@HERE
def test_without_an_archive_publishing_waits_for_nothing(broker):
    assert broker.waits is False


@LASTING
def test_with_an_archive_publishing_may_wait(broker):
    assert broker.waits is True


# Edits and deletes


def edit(target: int, text: str, id: str = "") -> Edited:
    return Edited(target, "ada", text, DATE + timedelta(seconds=1), id)


def delete(target: int, id: str = "") -> Deleted:
    return Deleted(target, "ada", DATE + timedelta(seconds=2), id)


def past(offset: int, text: str, *, edited: bool = False, deleted: bool = False) -> Past:
    return Past(
        offset,
        "ada",
        text,
        DATE,
        edited=DATE + timedelta(seconds=1) if edited else None,
        deleted=DATE + timedelta(seconds=2) if deleted else None,
    )


@pytest.mark.parametrize("event", [edit(1, "ONE", "k1"), delete(1, "k1"), Message("ada", "two", DATE, "k1")])
def test_whatever_has_an_id_is_known_again_by_it(broker, heard, event):
    first = list(broker.publish(LOBBY.key, [*say("one"), event]))

    assert first == [1, 2]
    assert list(broker.publish(LOBBY.key, [event])) == [2]
    assert len(heard.events) == 2


def test_a_whisper_that_is_said_again_is_heard_once(broker, heard):
    whispers = [Whisper("ada", "bob", "psst", DATE, "k1") for _ in range(3)]

    assert list(broker.publish(LOBBY.key, whispers[:2])) == [0, 0]
    assert list(broker.publish(LOBBY.key, [*say("aloud"), whispers[2]])) == [1, 0]
    assert heard.texts == ["psst", "aloud"]


def test_after_5_minutes_a_whisper_is_another_one(broker, heard, clock):
    for wait in (0.0, 299.0, 1.0):
        clock.advance(wait)
        broker.publish(LOBBY.key, [Whisper("ada", "bob", "psst", DATE, "k1")])

    wait_until(lambda: len(heard.events) == 2)


def test_a_whisper_to_somebody_else_or_by_somebody_else_or_without_an_id_is_another_one(broker, heard):
    whispers = [Whisper(*names, "psst", DATE, "k1") for names in (("ada", "bob"), ("ada", "cyd"), ("cyd", "bob"))]
    broker.publish(LOBBY.key, [*whispers, *(Whisper("ada", "bob", "psst", DATE) for _ in range(2))])

    wait_until(lambda: len(heard.events) == 5)


def test_a_message_is_not_taken_for_a_whisper_of_the_same_id(broker, heard):
    broker.publish(LOBBY.key, [Whisper("ada", "bob", "psst", DATE, "k1")])

    assert list(broker.publish(LOBBY.key, [Message("ada", "aloud", DATE, "k1")])) == [1]


def test_what_was_said_lately_is_found_by_its_id(broker, heard, clock):
    broker.publish(LOBBY.key, [*say("one"), Message("ada", "two", DATE, "k1"), Whisper("ada", "bob", "psst", DATE, "k2")])

    told = [broker.said(LOBBY.key, *who) for who in (("ada", "k1"), ("bob", "k1"), ("ada", "k2"), ("ada", "k3"))]

    assert told == [2, 0, 0, 0]
    clock.advance(300.0)
    assert broker.said(LOBBY.key, "ada", "k1") == 0


def test_a_message_is_found_as_it_now_is(broker, heard):
    broker.publish(LOBBY.key, [*say("one", "two", "three"), edit(2, "TWO"), delete(3)])

    assert broker.find(LOBBY.key, 1) == past(1, "one")
    assert broker.find(LOBBY.key, 2) == past(2, "TWO", edited=True)
    assert broker.find(LOBBY.key, 3) == past(3, "", deleted=True)


def test_where_there_is_no_message_none_is_found(broker, heard):
    broker.publish(LOBBY.key, [*say("one"), edit(1, "ONE")])

    assert [broker.find(LOBBY.key, offset) for offset in (0, 2, 3, 1 << 40)] == [None] * 4


def test_an_edit_comes_too_late_for_what_was_deleted(broker, heard):
    broker.publish(LOBBY.key, [*say("one"), delete(1), edit(1, "ONE")])

    assert broker.find(LOBBY.key, 1) == past(1, "", deleted=True)


def test_what_was_deleted_is_read_without_its_text(broker, heard):
    broker.publish(LOBBY.key, [*say("one"), edit(1, "ONE"), *say("two")])
    broker.publish(LOBBY.key, [delete(1)])

    assert [getattr(event, "text", None) for event in broker.read(LOBBY.key, 0, 10)] == ["", "", "two", None]


def test_what_was_heard_keeps_its_text_when_it_is_deleted(broker, heard):
    broker.publish(LOBBY.key, say("one"))
    broker.publish(LOBBY.key, [delete(1)])

    assert heard.events[0].text == "one"


def test_history_tells_messages_as_they_now_are_in_order(broker, heard):
    broker.publish(LOBBY.key, [*say("one", "two"), edit(1, "ONE"), delete(2), *say("three")])

    assert broker.history(LOBBY.key, limit=10) == (
        [past(1, "ONE", edited=True), past(2, "", deleted=True), past(5, "three")],
        False,
    )


def offsets(found: tuple[list[Past], bool]) -> tuple[list[int], bool]:
    return [one.offset for one in found[0]], found[1]


def test_history_comes_in_pages_to_both_sides(broker, archive, heard):
    for number in range(1, 13):  # the recent log has 8 to 12
        broker.publish(LOBBY.key, say(str(number)))
    if archive is None:
        assert offsets(broker.history(LOBBY.key, after=0, limit=20)) == ([8, 9, 10, 11, 12], False)
        return

    pages = {
        (None, None, 3): ([10, 11, 12], True),
        (10, None, 2): ([8, 9], True),
        (10, None, 3): ([7, 8, 9], True),
        (4, None, 3): ([1, 2, 3], False),
        (4, None, 2): ([2, 3], True),
        (1, None, 2): ([], False),
        (99, None, 1): ([12], True),
        (None, 0, 3): ([1, 2, 3], True),
        (None, 6, 2): ([7, 8], True),
        (None, 7, 2): ([8, 9], True),
        (None, 10, 2): ([11, 12], False),
        (None, 12, 2): ([], False),
        (None, 99, 2): ([], False),
    }
    for (before, after, limit), page in pages.items():
        assert offsets(broker.history(LOBBY.key, before=before, after=after, limit=limit)) == page


@LASTING
def test_history_has_the_first_message_too_when_that_alone_is_not_at_hand(broker, heard):
    broker.publish(LOBBY.key, say(*map(str, range(1, KEPT + 2))))

    assert offsets(broker.history(LOBBY.key, limit=10)) == ([1, 2, 3, 4, 5, 6], False)


@FORGETFUL
def test_what_is_too_old_is_not_at_hand_any_more(broker, heard, clock):
    broker.publish(LOBBY.key, say("one"))
    clock.advance(AGE - 1)
    broker.publish(LOBBY.key, say("two"))
    assert len(broker.recent(LOBBY.key, 0, 10)) == 2
    clock.advance(1)

    assert broker.recent(LOBBY.key, 0, 10) is None
    assert [event.text for event in broker.recent(LOBBY.key, 1, 10)] == ["two"]
    assert broker.find(LOBBY.key, 1) is None
    assert broker.history(LOBBY.key, limit=10)[0] == [broker.find(LOBBY.key, 2)]


@FORGETFUL
@pytest.mark.parametrize("what", ["find", "history"])
def test_nor_is_it_when_nothing_else_was_asked_before(broker, heard, clock, what):
    broker.publish(LOBBY.key, say("one"))
    clock.advance(AGE)

    found = broker.find(LOBBY.key, 1) if what == "find" else broker.history(LOBBY.key, limit=10)

    assert found == (None if what == "find" else ([], False))


@LASTING
def test_what_is_no_longer_at_hand_is_read_all_the_same(broker, heard, clock):
    broker.publish(LOBBY.key, [*say("one"), edit(1, "ONE"), *say("three")])
    clock.advance(AGE)

    assert broker.recent(LOBBY.key, 0, 10) is None
    assert broker.recent(LOBBY.key, 3, 10) == []
    assert broker.read(LOBBY.key, 0, 3) == heard.events
    assert broker.read(LOBBY.key, 0, 2) is None
    assert broker.find(LOBBY.key, 1) == past(1, "ONE", edited=True)
    assert offsets(broker.history(LOBBY.key, limit=10)) == ([1, 3], False)


@pytest.mark.parametrize(
    "ask",
    [
        lambda broker: broker.publish(LOBBY.key, say("one")),
        lambda broker: broker.said(LOBBY.key, "ada", "k1"),
        lambda broker: broker.recent(LOBBY.key, 0, 10),
        lambda broker: broker.read(LOBBY.key, 0, 10),
        lambda broker: broker.find(LOBBY.key, 1),
        lambda broker: broker.history(LOBBY.key, limit=10),
        lambda broker: broker.last(LOBBY.key),
    ],
)
def test_of_a_channel_that_is_not_open_nothing_can_be_had(broker, heard, ask):
    broker.close(LOBBY.key)

    with pytest.raises(ChannelClosed) as caught:
        ask(broker)

    assert caught.value.channel == "lobby"
