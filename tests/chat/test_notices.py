"""Who comes and who goes, in small rooms and in large ones."""

import logging
from collections.abc import Sequence

import pytest

from chat import ChatChannel, PipeConn
from chat.broker import MemoryBroker
from chat.crowd import LARGE, LISTED, NOTICES, PERIOD, period
from chat.errors import BrokerUnavailable, ChatError
from chat.event import Joined, Left, Presence, Published, User, Welcome
from chat.hooks import Hooks
from chat.loop import OWED
from chat.notices import Notices
from chat.orders import Order
from chat.presence import MemoryPresence
from tests.chat.fakes import DirectFake, EventFormat
from tests.chat.steps import enter, enter_directly, hear, hear_until, leave, wait_until


def fill(channel: ChatChannel, many: int, start: int = 0) -> list[PipeConn]:
    """Let `many` users in whose clients nobody reads."""
    conns = []
    for number in range(start, start + many):
        conns.append(PipeConn())
        channel.connect_user(f"user {number:04}", conns[-1])
    channel.flush()
    return conns


def wait_for_count(channel: ChatChannel, count: int) -> None:
    wait_until(lambda: channel.count() == count)


def notices(conn: DirectFake) -> list[Joined | Left | Presence]:
    return [event for event in conn.events if isinstance(event, Joined | Left | Presence)]


def welcome_of(conn: DirectFake) -> Welcome:
    return next(event for event in conn.events if isinstance(event, Welcome))


def test_everybody_hears_who_comes_the_joiner_included(lobby):
    ada = enter(lobby, "ada")
    bob = enter(lobby, "bob")

    assert hear(bob) == ["bob entered lobby!"]
    assert hear(ada, 2) == ["ada entered lobby!", "bob entered lobby!"]


def test_everybody_else_hears_who_goes(lobby):
    ada, bob = enter(lobby, "ada"), enter(lobby, "bob")
    leave(ada)

    assert hear(bob, 2) == ["bob entered lobby!", "ada exited lobby..."]


def test_notices_have_their_place_among_the_messages(lobby):
    ada = enter(lobby, "ada")
    lobby.new_system_broadcast("before")
    bob = enter_directly(lobby, "bob")
    lobby.new_system_broadcast("between")
    bob.hang_up()
    lobby.new_system_broadcast("after")

    assert hear_until(ada, "after")[1:] == [
        "before",
        "bob entered lobby!",
        "between",
        "bob exited lobby...",
        "after",
    ]


def test_a_leave_that_nobody_hears_hurts_nobody(lobby):
    enter_directly(lobby, "ada").hang_up()
    lobby.flush()

    assert lobby.get_users() == []


def test_up_to_the_bound_each_is_told_by_name(lobby):
    witness = enter_directly(lobby, "witness")
    fill(lobby, LARGE - 1)

    assert len(notices(witness)) == LARGE
    assert all(isinstance(event, Joined) for event in notices(witness))


def test_above_it_they_are_folded_into_one(lobby, clock):
    witness = enter_directly(lobby, "witness")
    fill(lobby, LARGE - 1)
    told = len(notices(witness))
    fill(lobby, 50, start=1000)
    assert len(notices(witness)) == told

    clock.advance(PERIOD)
    lobby.flush()

    (folded,) = notices(witness)[told:]
    assert isinstance(folded, Presence)
    assert folded.joined == tuple(User(f"user {number:04}") for number in range(1000, 1050))
    assert folded.left == ()
    assert folded.count == LARGE + 50


def test_the_notices_of_a_very_large_room_come_less_often():
    assert [period(count) for count in (LARGE + 1, 1250, 2500)] == [PERIOD, PERIOD, 2 * PERIOD]
    assert 100_000 / period(100_000) == NOTICES


def test_a_very_large_room_waits_for_as_long_as_its_size_wants(lobby, clock):
    due = []
    hooks = Hooks(None, logging.getLogger("test"))
    notices = Notices(lobby, hooks, clock, count=lambda: 5000, untold=lambda: 0, fold=lambda: due.append(clock.monotonic()))
    start = clock.monotonic()

    assert notices.joined(User("ann")) is None
    clock.advance(10.0)

    assert due == [start + period(5000)]


def test_a_folded_notice_comes_at_most_every_quarter_of_a_second(lobby, clock):
    witness = enter_directly(lobby, "witness")
    fill(lobby, LARGE)
    clock.advance(PERIOD)
    lobby.flush()
    told = len(notices(witness))
    start = clock.monotonic()
    for turn in range(20):  # one joins every 62.5 ms
        fill(lobby, 1, start=2000 + turn)
        clock.advance(PERIOD / 4)
        lobby.flush()

    passed = clock.monotonic() - start
    assert passed / PERIOD - 1 <= len(notices(witness)) - told <= passed / PERIOD
    clock.advance(PERIOD)
    lobby.flush()
    told_of = [user.username for event in notices(witness)[told:] for user in event.joined]
    assert told_of == [f"user {number:04}" for number in range(2000, 2020)]


def test_leaving_is_folded_too(lobby, clock):
    witness = enter_directly(lobby, "witness")
    conns = fill(lobby, LARGE + 30)
    clock.advance(PERIOD)
    lobby.flush()
    told = len(notices(witness))
    for conn in conns[:10]:
        conn.client.close()
    wait_for_count(lobby, LARGE + 21)
    clock.advance(PERIOD)
    lobby.flush()

    (folded,) = notices(witness)[told:]
    assert folded.left == tuple(f"user {number:04}" for number in range(10))
    assert (folded.joined, folded.count) == ((), LARGE + 21)


def test_who_comes_right_after_a_notice_is_told_of_nobody_who_had_left_by_it(lobby, clock):
    conns = fill(lobby, LARGE + 20)
    clock.advance(PERIOD)
    conns[-1].client.close()
    wait_for_count(lobby, LARGE + 19)
    clock.advance(PERIOD - 0.05)
    ada = enter_directly(lobby, "ada")  # whoever comes next may be told the same
    conns[0].client.close()
    wait_for_count(lobby, LARGE + 19)
    clock.advance(0.05)
    wait_until(lambda: notices(ada))
    bob = enter_directly(lobby, "bob")

    assert "user 0000" in notices(ada)[0].left
    assert [User("user 0000") in welcome_of(conn).users for conn in (ada, bob)] == [True, False]


def test_who_came_and_went_meanwhile_is_not_mentioned(lobby, clock):
    witness = enter_directly(lobby, "witness")
    fill(lobby, LARGE)
    clock.advance(PERIOD)
    lobby.flush()
    told = len(notices(witness))
    enter_directly(lobby, "guest").hang_up()
    lobby.flush()
    clock.advance(PERIOD)
    lobby.flush()

    assert notices(witness)[told:] == []


def test_names_are_cut_at_a_limit_and_the_count_is_true(lobby, clock):
    witness = enter_directly(lobby, "witness")
    fill(lobby, LARGE - 1)
    fill(lobby, LISTED + 50, start=1000)
    clock.advance(PERIOD)
    lobby.flush()

    folded = notices(witness)[-1]
    assert len(folded.joined) == LISTED
    assert folded.count == LARGE + LISTED + 50


def test_a_welcome_lists_as_many_users_as_fit_and_the_count_is_true(lobby, clock):
    fill(lobby, LISTED + 20)
    conn = enter_directly(lobby, "witness")
    (welcome,) = conn.wait_for(Welcome)

    names = {user.username for user in welcome.users}
    assert len(names) == LISTED
    assert names <= set(lobby.get_users())
    assert welcome.count == LISTED + 21


def test_who_comes_elsewhere_between_listing_and_counting_is_not_counted_before_they_are_heard(make_server):
    class Busy(MemoryPresence):
        def count(self, channel):
            return super().count(channel) + 1

    lobby = make_server(backends={"presence": Busy()}).create_channel("lobby")
    (welcome,) = enter_directly(lobby, "ada").wait_for(Welcome)

    assert ([user.username for user in welcome.users], welcome.count) == (["ada"], 1)


def test_plain_clients_get_one_line(lobby, clock):
    fill(lobby, LARGE)
    witness = enter(lobby, "witness")
    fill(lobby, 5, start=1000)
    clock.advance(PERIOD)

    assert hear(witness) == [f"6 entered lobby, {LARGE + 6} are here"]


def test_a_hook_takes_the_place_of_its_part_of_the_line(make_server, clock):
    class Greeter:
        def on_connect(self, channel, username):
            pass

    lobby = make_server(controller=Greeter()).create_channel("lobby")
    conns = fill(lobby, LARGE + 5)
    witness = enter(lobby, "witness")
    clock.advance(PERIOD)
    lobby.flush()
    for conn in conns[:3]:
        conn.client.close()
    wait_for_count(lobby, LARGE + 3)
    clock.advance(PERIOD)

    assert hear(witness) == [f"3 exited lobby, {LARGE + 3} are here"]


def test_a_room_that_shrinks_is_told_by_name_again(lobby, clock):
    witness = enter_directly(lobby, "witness")
    conns = fill(lobby, LARGE + 5)
    for conn in conns:
        conn.client.close()
    wait_for_count(lobby, 1)
    clock.advance(PERIOD)
    lobby.flush()
    enter(lobby, "bob")
    lobby.flush()

    assert notices(witness)[-1].user == User("bob")


def test_a_storm_of_joins_costs_no_square_of_frames(lobby, clock):
    many = 400
    form = EventFormat()
    conns = [DirectFake(form) for _ in range(many)]
    for number, conn in enumerate(conns):
        lobby.connect_user(f"user {number:04}", conn)
    lobby.flush()
    clock.advance(PERIOD)
    lobby.flush()

    told = sum(len(notices(conn)) for conn in conns)
    alone = LARGE * (LARGE + 1) // 2  # the first hundred, each told to all who are there
    assert told <= alone + many
    assert all(isinstance(notices(conn)[-1], Presence) for conn in conns)


def test_a_folded_notice_of_a_room_that_has_ended_comes_to_nobody(lobby, clock):
    fill(lobby, LARGE + 5)
    lobby.close()
    clock.advance(PERIOD)

    assert lobby.is_closed


class Away(MemoryBroker):
    """A log that cannot be reached at times."""

    is_away = False

    def publish(self, key: str, events: Sequence[Published]) -> Sequence[int | ChatError]:
        if self.is_away:
            raise BrokerUnavailable
        return super().publish(key, events)

    def tell(self, key: str, order: Order) -> None:
        if self.is_away:
            raise BrokerUnavailable
        super().tell(key, order)


@pytest.mark.logs_errors
def test_whoever_came_or_left_while_nobody_could_be_told_is_made_known_as_soon_as_that_can_be(make_server, clock):
    broker = Away()
    lobby = make_server(backends={"broker": broker}).create_channel("lobby")
    witness, bob = (enter_directly(lobby, name) for name in ("witness", "bob"))
    lobby.flush()
    broker.is_away = True
    bob.hang_up()
    enter_directly(lobby, "ada")
    lobby.flush()
    for _ in range(2):
        clock.advance(OWED)
        lobby.flush()
    assert [type(event) for event in witness.events] == [Welcome, Joined, Joined]  # its own, and bob's

    broker.is_away = False
    clock.advance(OWED)
    wait_until(lambda: isinstance(witness.events[-1], Welcome))

    welcome = witness.events[-1]
    assert ([user.username for user in welcome.users], welcome.count) == (["ada", "witness"], 2)
    assert (welcome.recovered, welcome.epoch, welcome.offset) == (True, lobby.epoch, lobby.offset)


@pytest.mark.logs_errors
def test_how_many_are_here_need_not_be_known_for_telling_who_has_left(make_server):
    class Uncounted(MemoryPresence):
        is_away = False

        def count(self, channel: str) -> int:
            if self.is_away:
                raise BrokerUnavailable
            return super().count(channel)

    presence = Uncounted()
    lobby = make_server(backends={"presence": presence}).create_channel("lobby")
    witness, bob = (enter_directly(lobby, name) for name in ("witness", "bob"))
    lobby.flush()
    presence.is_away = True
    bob.hang_up()

    wait_until(lambda: [event.username for event in notices(witness) if isinstance(event, Left)] == ["bob"])
