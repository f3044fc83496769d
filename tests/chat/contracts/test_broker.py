"""What every `Broker` must do.  A new backend adds a parameter to `broker`."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from chat.archive.memory import MemoryArchive
from chat.broker import Broker, MemoryBroker
from chat.errors import BrokerUnavailable
from chat.event import Joined, Left, Message, Presence, Published, User, Whisper
from chat.registry import ChannelRecord
from tests.chat.steps import never_yields

DATE = datetime(2026, 1, 2, 15, 4, 5, tzinfo=UTC)
LOBBY = ChannelRecord("lobby", "e1", "l1")
KEPT = 5  # how many events the brokers below keep
NEVER_YIELDS = ["memory"]


class Heard:
    """Records what a subscriber is told, batch by batch."""

    def __init__(self) -> None:
        self.batches: list[list[Published]] = []

    def __call__(self, events: Sequence[Published]) -> None:
        self.batches.append(list(events))

    @property
    def events(self) -> list[Published]:
        return [event for batch in self.batches for event in batch]

    @property
    def texts(self) -> list[str]:
        return [event.text for event in self.events]


@pytest.fixture(params=["memory"])
def backend(request) -> str:
    return request.param


@pytest.fixture
def broker(backend) -> Broker:
    return {"memory": lambda: MemoryBroker(recent=KEPT)}[backend]()


@pytest.fixture
def heard(broker) -> Heard:
    heard = Heard()
    broker.open(LOBBY, heard)
    return heard


def say(*texts: str) -> list[Message]:
    return [Message("ada", text, DATE) for text in texts]


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


def test_only_messages_take_an_offset(broker, heard):
    events = [
        Joined(User("ada", "Ada"), DATE),
        *say("one"),
        Whisper("ada", "bob", "psst", DATE),
        *say("two"),
        Left("ada", DATE),
        Presence((User("ada"),), (), 1, DATE),
    ]

    assert list(broker.publish(LOBBY.key, events)) == [0, 1, 0, 2, 0, 0]
    assert heard.events == events
    assert broker.last(LOBBY.key) == 2


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
    broker.open(ChannelRecord("attic", "e7", "l7", offset=41), heard)

    assert broker.last("attic/e7") == 41
    assert list(broker.publish("attic/e7", say("one"))) == [42]


def test_channels_count_and_hear_apart(broker, heard):
    others = Heard()
    broker.open(ChannelRecord("lobby", "e2", "l2"), others)  # the same name, another epoch
    broker.publish(LOBBY.key, say("one", "two"))

    assert list(broker.publish("lobby/e2", say("apart"))) == [1]
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
    events = [Message("ada", "one", DATE, id="k1"), Message("ada", "one", DATE, id="k1"), *say("two")]

    assert list(broker.publish(LOBBY.key, events)) == [1, 1, 2]
    assert heard.texts == ["one", "two"]


def test_the_same_id_of_somebody_else_is_another_one(broker, heard):
    broker.publish(LOBBY.key, [Message("ada", "one", DATE, id="k1"), Message("bob", "two", DATE, id="k1")])

    assert heard.texts == ["one", "two"]


def test_after_5_minutes_an_id_is_forgotten(clock):
    broker, heard = MemoryBroker(clock=clock), Heard()
    broker.open(LOBBY, heard)
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


def test_the_recent_log_is_bounded(broker, heard):
    for number in range(10 * KEPT):
        broker.publish(LOBBY.key, say(str(number)))

    assert [event.offset for event in broker.read(LOBBY.key, 9 * KEPT, 100)] == [46, 47, 48, 49, 50]
    assert broker.read(LOBBY.key, 9 * KEPT - 1, 100) is None


def test_what_was_said_before_the_record_was_taken_is_not_here(broker):
    broker.open(ChannelRecord("attic", "e7", "l7", offset=41), Heard())
    broker.publish("attic/e7", say("one"))

    assert [event.offset for event in broker.read("attic/e7", 41, 100)] == [42]
    assert broker.read("attic/e7", 40, 100) is None


def test_a_closed_channel_is_not_heard_of_any_more(broker, heard):
    others = Heard()
    broker.open(ChannelRecord("attic", "e1", "l3"), others)
    broker.publish(LOBBY.key, say("one"))
    broker.close(LOBBY.key)
    broker.publish("attic/e1", say("up here"))

    assert heard.texts == ["one"]
    assert others.texts == ["up here"]


def test_close_is_idempotent_and_ignores_the_unknown(broker, heard):
    broker.close(LOBBY.key)
    broker.close(LOBBY.key)
    broker.close("nowhere/e1")


def test_a_channel_that_was_closed_can_be_opened_where_it_stood(broker, heard):
    broker.publish(LOBBY.key, say("one", "two"))
    broker.close(LOBBY.key)
    broker.open(ChannelRecord("lobby", "e1", "l1", offset=2), heard)

    assert list(broker.publish(LOBBY.key, say("three"))) == [3]


@pytest.mark.parametrize("backend", NEVER_YIELDS, indirect=True)
def test_without_an_archive_it_never_yields(broker):
    with never_yields():
        broker.open(LOBBY, Heard())
        broker.publish(LOBBY.key, say("one"))
        broker.read(LOBBY.key, 0, 10)
        broker.last(LOBBY.key)
        broker.close(LOBBY.key)


# The memory broker with an archive: write-ahead


class Refusing(MemoryArchive):
    """Appends nothing while `refuses`."""

    refuses = True

    def append(self, log: str, events: Sequence[Message]) -> None:
        if self.refuses:
            raise BrokerUnavailable
        super().append(log, events)


class Witness(MemoryArchive):
    """Notes how much had been heard at each append."""

    def __init__(self, heard: Heard) -> None:
        super().__init__()
        self.heard_before: list[int] = []
        self._heard = heard

    def append(self, log: str, events: Sequence[Message]) -> None:
        self.heard_before.append(len(self._heard.events))
        super().append(log, events)


def test_it_is_logged_before_anybody_hears_it():
    heard = Heard()
    archive = Witness(heard)
    broker = MemoryBroker(archive)
    broker.open(LOBBY, heard)
    broker.publish(LOBBY.key, say("one", "two"))
    broker.publish(LOBBY.key, say("three"))

    assert archive.heard_before == [0, 2]
    assert archive.read("l1", 0, 10) == heard.events


def test_what_is_not_logged_does_not_go_to_the_archive():
    heard = Heard()
    archive = Witness(heard)
    broker = MemoryBroker(archive)
    broker.open(LOBBY, heard)
    broker.publish(LOBBY.key, [Joined(User("ada", "Ada"), DATE)])

    assert archive.heard_before == []
    assert len(heard.events) == 1


def test_what_the_archive_refuses_is_not_heard_and_takes_no_offset():
    heard = Heard()
    archive = Refusing()
    broker = MemoryBroker(archive)
    broker.open(LOBBY, heard)

    with pytest.raises(BrokerUnavailable):
        broker.publish(LOBBY.key, [*say("lost"), Joined(User("ada", "Ada"), DATE)])
    assert heard.events == []
    assert broker.last(LOBBY.key) == 0

    archive.refuses = False
    assert list(broker.publish(LOBBY.key, say("kept"))) == [1]
    assert [event.text for event in archive.read("l1", 0, 10)] == ["kept"]


def test_what_is_no_longer_recent_is_read_from_the_archive():
    broker = MemoryBroker(MemoryArchive(), recent=2)
    broker.open(LOBBY, Heard())
    broker.publish(LOBBY.key, say(*map(str, range(10))))

    assert [event.offset for event in broker.read(LOBBY.key, 3, 100)] == [4, 5, 6, 7, 8, 9, 10]
    assert broker.read(LOBBY.key, 3, 6) is None
