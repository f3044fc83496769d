"""What is said in one process is heard in all, once and in the same order."""

import gevent
import pytest

from chat.errors import ChannelClosed
from chat.event import Joined, User, Whisper
from chat.orders import DropUser, End
from tests.chat.broker.processes import Process, Start, attempt, said, settled
from tests.chat.contracts.hearing import DATE, LOBBY
from tests.chat.steps import wait_until


def test_each_hears_what_the_other_says_at_the_same_offset(p1: Process, p2: Process):
    assert p1.say("one") == [1]
    assert p2.say("two", "three") == [2, 3]

    wait_until(lambda: settled(p1, p2))
    assert p1.texts == p2.texts == ["one", "two", "three"]
    assert p1.offsets == p2.offsets == [1, 2, 3]


def test_each_knows_which_process_has_said_it(p1: Process, p2: Process):
    p1.say("one", "two")
    p2.say("three")

    wait_until(lambda: settled(p1, p2))
    assert p1.heard.processes == p2.heard.processes == ["p1", "p2"]


def test_who_comes_later_is_at_the_same_place_and_has_at_hand_what_was_said(p1: Process, start: Start):
    p1.say("one", "two")
    p1.say("three")
    p2 = start("p2").open()

    assert p2.place == p1.place._replace(offset=3)
    assert p2.broker.recent(LOBBY.key, 0, 10) == p1.heard.events
    assert p2.texts == []


def test_however_many_speak_at_once_all_hear_the_same_order(start: Start):
    processes = [start(f"p{number}").open() for number in (1, 2, 3)]

    def talk(process: Process) -> list[int]:
        pairs = [(f"{process.name} {number}", f"{number} {process.name}") for number in range(50)]
        return [offset for pair in pairs for offset in process.say(*pair)]

    talking = [gevent.spawn(talk, process) for process in processes]
    acked = [greenlet.get() for greenlet in talking]

    wait_until(lambda: settled(*processes))
    assert sorted(offset for offsets in acked for offset in offsets) == processes[0].offsets == list(range(1, 301))
    assert all(process.heard.events == processes[0].heard.events for process in processes)


def test_what_is_said_again_in_another_process_is_the_same(p1: Process, p2: Process):
    p1.say("one", "two")

    assert p2.say("two", "three", "one") == [2, 3, 1]
    wait_until(lambda: settled(p1, p2))
    assert p1.texts == p2.texts == ["one", "two", "three"]
    assert p2.broker.said(LOBBY.key, "ada", "two") == 2


def test_in_two_processes_at_once_too(p1: Process, p2: Process):
    for number in range(50):
        both = [gevent.spawn(process.say, f"{number}", f"{number} too") for process in (p1, p2)]
        assert both[0].get() == both[1].get()

    wait_until(lambda: settled(p1, p2))
    assert p1.offsets == p2.offsets == list(range(1, 101))


def test_what_is_not_logged_is_heard_in_both(p1: Process, p2: Process):
    events = [Joined(User("ada"), DATE), said("one"), Whisper("ada", "bob", "psst", DATE, "k1")]
    p1.broker.publish(LOBBY.key, events)

    wait_until(lambda: len(p2.heard.events) == 3)
    assert p2.heard.events == p1.heard.events
    assert [type(event) for event in p2.heard.events] == [type(event) for event in events]


def test_a_whisper_is_known_again_where_it_was_heard(p1: Process, p2: Process):
    whisper = Whisper("ada", "bob", "psst", DATE, "k1")
    p1.broker.publish(LOBBY.key, [whisper])
    wait_until(lambda: p2.heard.events)

    p2.broker.publish(LOBBY.key, [whisper, said("one")])

    wait_until(lambda: settled(p1, p2))
    assert p1.texts == p2.texts == ["psst", "one"]


def test_orders_are_done_in_both(p1: Process, p2: Process):
    p1.broker.tell(LOBBY.key, DropUser("bob", 4000, "out"))

    wait_until(lambda: p1.heard.orders and p2.heard.orders)
    assert p1.heard.orders == p2.heard.orders == [DropUser("bob", 4000, "out")]


def test_who_opens_it_while_others_speak_misses_nothing_from_there_on(p1: Process, start: Start):
    talking = gevent.spawn(lambda: [p1.say(f"{number}") for number in range(200)])
    others = []
    while not talking.ready() and len(others) < 20:
        others.append(start(f"p{2 + len(others)}").open())

    for process in others:
        wait_until(lambda process=process: process.last == 200)
        assert process.offsets == list(range(process.place.offset + 1, 201))
    assert len(others) > 1


def test_it_can_be_closed_in_one_and_go_on_in_the_other(p1: Process, p2: Process):
    p1.say("one")
    p1.close()
    p2.say("two")

    assert p1.texts == ["one"]
    assert p2.texts == ["one", "two"]


def test_after_the_end_nothing_can_be_said_anywhere_and_nobody_can_come(p1: Process, p2: Process, start: Start):
    p1.say("one")
    p1.broker.tell(LOBBY.key, End())

    with pytest.raises(ChannelClosed):
        p2.say("two")
    with pytest.raises(ChannelClosed):
        start("p3").open()
    wait_until(lambda: p2.heard.orders == [End()])
    assert p2.texts == ["one"]


def test_what_is_said_at_the_end_is_heard_by_all_before_it_or_refused(start: Start):
    p1, p2, p3 = (start(f"p{number}").open() for number in (1, 2, 3))
    acked: list[int] = []

    def talk() -> None:
        while True:
            acked.extend(p2.say(str(len(acked))))

    talking = attempt(talk)
    wait_until(lambda: len(acked) > 20)
    p1.broker.tell(LOBBY.key, End())

    assert isinstance(talking.get(timeout=2), ChannelClosed)
    for process in (p1, p2, p3):
        wait_until(lambda process=process: process.heard.orders == [End()])
        assert process.offsets == acked
