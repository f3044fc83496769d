"""The gate: who is let in, counted, watched over and seen off; and that nobody is counted who has gone."""

import gc
from collections import Counter
from collections.abc import Callable, Iterator

import gevent
import pytest

from chat.closing import CHANNEL_CLOSED, GONE, KICKED, LOGGED_OUT, NOT_ALLOWED, REPLACED, STALE, Closing
from chat.conn import DirectConn
from chat.errors import ServerClosed, UserAlreadyConnected
from chat.member import EVERYBODY, Member, Resume
from chat.testing import TurnedClock
from tests.chat.steps import never_yields, wait_until
from tests.web.fakes import BINARY, PONG, SocketFake, client_frame, close_frame
from tests.web.websocket.house import House, MakeHouse, heard, part
from web.websocket.base import LINGER, BaseSocket
from web.websocket.census import TooManyConnections
from web.websocket.gate import BATCH, LATE
from web.websocket.limits import CLOSE_TIMEOUT
from web.websocket.peer import Peer
from web.websocket.protocol import MessageProtocol


@pytest.fixture
def make_house(clock: TurnedClock) -> Iterator[MakeHouse]:
    made: list[House] = []

    def make(**given: object) -> House:
        made.append(House(clock, **given))
        return made[-1]

    yield make
    with gevent.Timeout(10):
        for house in made:
            house.server.close()


@pytest.fixture
def house(make_house: MakeHouse) -> House:
    return make_house()


# In


def test_who_enters_is_in_the_channel_and_counted(house: House) -> None:
    socket = house.enter("ann")

    assert house.counted == (1, 1)
    assert house.server.get_channel("lobby").get_users() == ["ann"]
    [welcome] = heard(socket, "welcome")
    assert welcome["limits"] == {"message": 4096, "rate": 10.0, "channels": 100, "history": 200}
    assert welcome["ping"] == 25.0


def test_plain_clients_and_others_hear_each_other(house: House) -> None:
    ann, bob = house.enter("ann", v1=True), house.enter("bob", v1=False)

    bob.say("hello")
    [message] = heard(ann, "message")
    ann.say('{"type": "publish", "channel": "lobby", "text": "hi"}')
    wait_until(lambda: any(text.endswith("ann: hi") for text in bob.texts))

    assert (message["from"], message["text"]) == ("bob", "hello")


@pytest.mark.parametrize("v1", [False, True], ids=["plain", "v1"])
def test_what_is_said_is_compressed_once_for_all_who_agreed_to_it(house: House, v1: bool) -> None:
    ann, bob = (house.enter(name, v1=v1, deflates=True) for name in ("ann", "bob"))
    cid = house.enter("cid", v1=v1)
    long = "hear, hear " * 100

    house.server.get_channel("lobby").new_broadcast(long, "ann")
    wait_until(lambda: all(long in socket.texts[-1] for socket in (ann, bob, cid)))

    assert ann.sent[-1] is bob.sent[-1]
    assert ann.frames[-1].deflated
    assert cid.texts[-1] == ann.texts[-1]
    assert not any(frame.deflated for frame in cid.frames)


@pytest.mark.parametrize("v1", [False, True], ids=["plain", "v1"])
def test_what_is_for_one_alone_is_compressed_too(house: House, v1: bool) -> None:
    ann, bob = (house.enter(name, v1=v1, deflates=True) for name in ("ann", "bob"))
    long = "psst " * 100

    house.server.get_channel("lobby").new_whisper(long, "ann", "bob")
    wait_until(lambda: long in bob.texts[-1])

    assert bob.frames[-1].deflated
    assert long in ann.texts[-1]


def test_a_compressed_member_leaves_as_any_other(house: House) -> None:
    ann = house.enter("ann", deflates=True)
    bob = house.enter("bob", deflates=True)

    ann.hang_up()
    heard(bob, "left")
    house.server.get_channel("lobby").new_broadcast("anybody?", "bob")

    assert heard(bob, "message")[0]["text"] == "anybody?"
    assert house.counted == (1, 1)


def test_who_comes_back_is_told_what_was_missed(house: House) -> None:
    ann = house.enter("ann")
    house.server.get_channel("lobby").new_broadcast("one", "bob")
    house.server.get_channel("lobby").new_broadcast("two", "bob")
    [welcome] = heard(ann, "welcome")
    wait_until(lambda: len(heard(ann, "message")) == 2)

    again = house.enter("cid", resume=Resume(str(welcome["epoch"]), 1, 1000))

    assert [(event["offset"], event["text"]) for event in heard(again, "message")] == [(2, "two")]
    assert heard(again, "welcome")[0]["recovered"] is True


def test_what_was_missed_is_not_compressed_for_the_one_who_missed_it(house: House) -> None:
    ann = house.enter("ann")
    [welcome] = heard(ann, "welcome")
    long = "hear, hear " * 100
    house.server.get_channel("lobby").new_broadcast(long, "ann")
    heard(ann, "message")

    back = house.enter("bob", resume=Resume(str(welcome["epoch"]), 0, 1000), deflates=True)

    assert [event["text"] for event in heard(back, "message")] == [long]
    assert [frame.deflated for frame in back.frames if b'"message",' in frame.payload] == [False]


def test_entering_never_yields(house: House) -> None:
    ticket, member, socket = house.gate.count("ann", "a"), house.reserve("ann"), SocketFake(house.clock, house.gate.bounds)

    with never_yields():
        house.gate.enter(socket, member, ticket, v1=True, resume=None)


@pytest.mark.parametrize(("rate", "burst"), [(10, 30), (1, 3), (0.5, 1), (0.1, 1)])
def test_one_socket_may_say_three_seconds_worth_at_once_and_always_one_message(
    make_house: MakeHouse, rate: float, burst: int
) -> None:
    socket = make_house(MESSAGE_RATE=rate).enter(v1=False)

    for _ in range(burst + 2):
        socket.say("x")

    wait_until(lambda: sum(text.endswith("> ann: x") for text in socket.texts) == burst)
    assert sum("Not sent" in text for text in socket.texts) == 2


# Out


WAYS_OUT: dict[str, tuple[Callable[[House, SocketFake], object], Closing]] = {
    "hangs up": (lambda house, socket: socket.hang_up(), GONE),
    "closes": (lambda house, socket: socket.hear(close_frame()), Closing(1000)),
    "unmasked": (lambda house, socket: socket.hear(b"\x81\x00"), Closing(1002, "incorrect masking")),
    "is cut off": (lambda house, socket: socket.abort(), GONE),
    "channel": (lambda house, socket: house.server.get_channel("lobby").close(), CHANNEL_CLOSED),
    "kicked": (lambda house, socket: house.server.get_channel("lobby").remove_user("ann"), KICKED),
    "logged out": (lambda house, socket: house.gate.close_session("the login"), LOGGED_OUT),
    "not allowed": (lambda house, socket: house.review(lambda *who: frozenset()), NOT_ALLOWED),
    "stale": (lambda house, socket: [house.clock.advance(1) for _ in range(40)], STALE),
}


@pytest.mark.parametrize(("leave", "closing"), WAYS_OUT.values(), ids=WAYS_OUT)
@pytest.mark.parametrize("v1", [True, False])
def test_who_leaves_is_counted_no_more_however_it_ends(
    house: House, leave: Callable[[House, SocketFake], object], closing: Closing, v1: bool
) -> None:
    socket = house.enter(session="the login", v1=v1)

    with gevent.Timeout(5):
        leave(house, socket)

    assert socket.closing == closing
    assert house.counted == (0, not socket.closed), "whose descriptor is open has a place"
    part(socket)
    assert house.counted == (0, 0)


def remains() -> Counter[str]:
    """How much there is, of each kind, of what connections are made of."""
    kinds = (BaseSocket, MessageProtocol, Peer, DirectConn, Member)
    return Counter(type(found).__name__ for found in gc.get_objects() if isinstance(found, kinds))


def come_and_go(house: House, way: str, *, v1: bool) -> None:
    channel = house.server.get_channel("lobby")
    socket = house.enter(session="the login", v1=v1)
    WAYS_OUT[way][0](house, socket)
    part(socket)
    wait_until(lambda: not channel.get_users())
    house.clock.advance(CLOSE_TIMEOUT)  # which is when the clock forgets a timer that was stopped


@pytest.mark.parametrize("way", sorted(WAYS_OUT.keys() - {"channel"}))  # which leaves itself, once
@pytest.mark.parametrize("v1", [True, False])
def test_who_leaves_leaves_nothing_to_the_collector_however_it_ends(house: House, way: str, v1: bool) -> None:
    gc.collect()
    before = remains()
    gc.disable()
    try:
        with gevent.Timeout(5):
            come_and_go(house, way, v1=v1)
        left = remains() - before
    finally:
        gc.enable()

    assert left == Counter()


def test_who_is_turned_away_is_counted_no_more_and_the_name_is_free(make_house: MakeHouse) -> None:
    house = make_house(DUPLICATE_USER="reject")
    ticket, member = house.gate.count("ann", "a"), house.reserve("ann")
    with pytest.raises(UserAlreadyConnected):
        house.reserve("ann")

    with never_yields():
        house.gate.turn_away(member, ticket)

    assert house.counted == (0, 0)
    house.enter("ann")


def test_a_channel_that_ends_while_the_101_is_on_its_way_sends_its_guest_back(house: House) -> None:
    ticket, member = house.gate.count("ann", "a"), house.reserve("ann")
    house.server.get_channel("lobby").close()
    socket = SocketFake(house.clock, house.gate.bounds)

    house.gate.enter(socket, member, ticket, v1=True, resume=None)

    assert house.counted == (0, 1)
    part(socket)
    assert house.counted == (0, 0)
    assert socket.closing is not None
    assert socket.closing.code == 1012
    assert 0.25 <= float(socket.closing.reason.removeprefix("retry=")) <= 1.25


def test_one_that_the_newest_replaces_before_it_was_welcomed_is_counted_no_more(make_house: MakeHouse) -> None:
    house = make_house(DUPLICATE_USER="replace", CONNECTIONS_PER_USER=2)
    ticket, member, first = house.gate.count("ann", "a"), house.reserve("ann"), SocketFake(house.clock, house.gate.bounds)
    house.gate.enter(first, member, ticket, v1=True, resume=None)  # its turn in the channel is still to come

    second = house.enter("ann")

    assert (first.closing, second.closing) == (REPLACED, None)
    part(first)
    assert house.counted == (1, 1)
    assert house.server.get_channel("lobby").get_users() == ["ann"]


class SlowGreeting:
    """A hook that lets the channel wait."""

    def __init__(self) -> None:
        self.go_on = gevent.event.Event()

    def on_connect(self, channel: object, username: str) -> None:
        self.go_on.wait(5)


def test_one_that_is_kicked_before_it_was_welcomed_is_counted_no_more(make_house: MakeHouse) -> None:
    hook = SlowGreeting()
    house = make_house(controller=hook)
    first = house.enter("ann")
    second_tab = SocketFake(house.clock, house.gate.bounds)
    ticket = house.gate.count("ann", "a")
    house.gate.enter(second_tab, house.reserve("ann"), ticket, v1=True, resume=None)
    assert house.counted == (2, 2)

    kicking = gevent.spawn(house.server.get_channel("lobby").remove_user, "ann")
    gevent.sleep(0)
    hook.go_on.set()
    kicking.get(timeout=5)

    assert (first.closing, second_tab.closing) == (KICKED, KICKED)
    part(first, second_tab)
    assert house.counted == (0, 0)


def test_a_login_that_ends_while_its_socket_waits_for_its_turn_ends_that_too(house: House) -> None:
    ticket, member, socket = (
        house.gate.count("ann", "a"),
        house.reserve("ann", "the login"),
        SocketFake(house.clock, house.gate.bounds),
    )
    house.gate.enter(socket, member, ticket, v1=True, resume=None)

    house.gate.close_session("the login")

    wait_until(lambda: house.server.get_channel("lobby").get_users() == [])
    assert socket.closing == LOGGED_OUT
    part(socket)
    assert house.counted == (0, 0)


def test_only_the_login_that_ended_is_ended(house: House) -> None:
    sockets = [house.enter(name, session=session) for name, session in [("ann", "1"), ("ann", "2"), ("bob", None)]]

    house.gate.close_session("1")

    assert [socket.closing for socket in sockets] == [LOGGED_OUT, None, None]


def test_a_login_that_has_ended_lets_nobody_in_until_its_tokens_are_too_old(house: House) -> None:
    house.gate.close_session("1")
    late = house.enter(session="1")

    assert late.closing == LOGGED_OUT
    part(late)
    assert house.counted == (0, 0)
    assert house.gate.has_ended("1")
    house.clock.advance(house.gate._token_deadline + LATE - 1)
    assert house.gate.has_ended("1"), "a token may have been issued late"
    house.clock.advance(1)
    assert not house.gate.has_ended("1")
    assert not house.gate.has_ended(None)


def test_one_answer_that_fails_keeps_nobody_else_from_being_asked(house: House, caplog: pytest.LogCaptureFixture) -> None:
    ann, bob = house.enter("ann"), house.enter("bob")

    def rights(username: str, channel: str) -> frozenset[str]:
        if username == "ann":
            raise RuntimeError("no answer")
        return frozenset()

    house.review(rights)

    assert (ann.closing, bob.closing) == (None, NOT_ALLOWED)
    assert "authorize() failed" in caplog.text


def test_limits_hold_again_once_somebody_has_left(make_house: MakeHouse) -> None:
    house = make_house(CONNECTIONS=2)
    first, _ = house.enter("ann"), house.enter("bob")
    with pytest.raises(TooManyConnections):
        house.enter("cid")

    first.hang_up()

    house.enter("cid")
    assert house.counted == (2, 2)


def test_however_many_are_closing_no_more_descriptors_are_open_than_there_may_be(make_house: MakeHouse) -> None:
    house = make_house(CONNECTIONS=2)
    sockets = [house.enter("ann"), house.enter("bob")]
    for socket in sockets:
        socket.hear(client_frame(b"", BINARY))  # which ends it

    with pytest.raises(TooManyConnections):
        house.enter("cid")

    assert house.counted == (0, 2)
    house.clock.advance(CLOSE_TIMEOUT)
    house.clock.advance(LINGER)
    assert [socket.closed for socket in sockets] == [True, True], "they never answered"
    assert house.counted == (0, 0)


def test_whoever_comes_back_need_not_wait_for_the_connections_that_were_lost(make_house: MakeHouse) -> None:
    house = make_house(CONNECTIONS_PER_USER=2)
    lost, alive, other = house.enter("ann"), house.enter("ann"), house.enter("bob")
    for socket in (lost, other):
        socket.close(*STALE)

    back = house.enter("ann")

    assert (lost.closed, other.closed) == (True, False)
    assert (alive.closing, back.closing) == (None, None)
    assert house.counted == (2, 3)
    with pytest.raises(TooManyConnections):
        house.enter("ann")


# Reviews


def test_a_review_gives_everybody_the_rights_of_now(house: House) -> None:
    socket = house.enter("ann")

    house.review(lambda username, channel: frozenset({"join"}))
    socket.say('{"type": "publish", "channel": "lobby", "text": "hi", "id": "1"}')

    [error] = heard(socket, "error")
    assert (error["code"], error["id"]) == ("forbidden", "1")
    house.review(lambda username, channel: EVERYBODY)
    socket.say('{"type": "publish", "channel": "lobby", "text": "hi", "id": "2"}')
    assert heard(socket, "ack")[0]["id"] == "2"


def test_a_review_asks_once_for_each_user_and_channel(house: House) -> None:
    for name in ("ann", "ann", "bob"):
        house.enter(name)
    asked = []

    def rights(username: str, channel: str) -> frozenset[str]:
        asked.append((username, channel))
        return EVERYBODY

    house.review(rights)

    assert asked == [("ann", "lobby"), ("bob", "lobby")]


def test_who_leaves_during_a_review_is_no_trouble(house: House) -> None:
    sockets = [house.enter(name) for name in ("ann", "bob", "cid")]

    def rights(username: str, channel: str) -> frozenset[str]:
        for socket in sockets:
            if socket.closing is None:
                socket.hang_up()
        return frozenset()

    house.review(rights)

    assert house.counted == (0, 0)


# The end


def see_off(house: House, seconds: float = 4.0) -> None:
    """As a process that ends."""
    house.gate.hush()
    house.server.flush()
    deadline = house.clock.monotonic() + seconds
    house.gate.see_off(lambda: house.clock.monotonic() >= deadline)
    house.gate.await_goodbyes(lambda: house.clock.monotonic() >= deadline)


def test_hushed_it_lets_nobody_in_and_hears_nobody(house: House) -> None:
    socket = house.enter(v1=False)

    house.gate.hush()

    assert house.gate.draining
    assert not socket.reading


def test_a_channel_that_has_room_again_does_not_make_it_listen(house: House) -> None:
    socket = house.enter(v1=False)
    house.gate.hush()

    for conn in house.gate._guests:
        conn.resume()

    assert not socket.reading


def test_who_was_on_the_way_in_when_it_was_hushed_is_sent_back_like_all_the_others(house: House) -> None:
    ticket, member, socket = house.gate.count("ann", "a"), house.reserve("ann"), SocketFake(house.clock, house.gate.bounds)
    house.gate.hush()

    house.gate.enter(socket, member, ticket, v1=True, resume=None)

    assert socket.closing is not None
    assert socket.closing.code == 1012
    part(socket)
    assert house.counted == (0, 0)
    assert house.server.get_channel("lobby").get_users() == []


def test_everybody_is_seen_off_with_the_time_to_come_back(house: House) -> None:
    sockets = [house.enter(f"user {number}") for number in range(BATCH + 1)]
    leaving = gevent.spawn(see_off, house)
    wait_until(lambda: all(socket.closing is not None and socket.reading for socket in sockets))
    for socket in sockets:
        socket.hear(close_frame(1012))
    part(*sockets)

    leaving.get(timeout=5)

    closings = [socket.closing for socket in sockets if socket.closing is not None]
    waits = [float(closing.reason.removeprefix("retry=")) for closing in closings]
    assert {closing.code for closing in closings} == {1012}
    assert all(0.25 <= wait <= 1.25 for wait in waits)
    assert len(set(waits)) > BATCH / 2, "they do not all come back in the same instant"
    assert {socket.closed for socket in sockets} == {True}
    assert house.counted == (0, 0)


def test_who_does_not_say_goodbye_in_time_is_cut_off(house: House) -> None:
    socket = house.enter()
    leaving = gevent.spawn(see_off, house)
    wait_until(lambda: socket.closing is not None)
    assert not socket.closed

    house.clock.advance(4.5)
    leaving.get(timeout=5)

    assert socket.closed


def test_who_was_closing_already_is_awaited_and_cut_off_too(house: House) -> None:
    answering, silent = house.enter("ann"), house.enter("bob")
    for socket in (answering, silent):
        socket.hear(client_frame(b"", BINARY))
    over: list[bool] = []
    leaving = gevent.spawn(house.gate.await_goodbyes, lambda: bool(over))
    part(answering)
    gevent.sleep(0)
    assert not leaving.ready()

    over.append(True)
    leaving.get(timeout=5)

    assert (answering.closed, silent.closed) == (True, True)


def test_a_large_house_is_seen_off_without_a_pause_once_the_time_is_over(house: House) -> None:
    sockets = [house.enter(f"user {number}") for number in range(BATCH + 1)]

    with never_yields():
        house.gate.see_off(lambda: True)

    assert {socket.closing.code for socket in sockets if socket.closing is not None} == {1012}
    part(*sockets)


def test_what_was_said_before_is_heard_and_acknowledged_before_the_end(house: House) -> None:
    ann, bob = house.enter("ann"), house.enter("bob")
    ann.say('{"type": "publish", "channel": "lobby", "text": "last words", "id": "1"}')

    leaving = gevent.spawn(see_off, house)
    wait_until(lambda: ann.closing is not None and bob.closing is not None)
    house.clock.advance(10)
    leaving.get(timeout=5)

    assert heard(ann, "ack")[0]["id"] == "1"
    assert heard(bob, "message")[0]["text"] == "last words"


def test_an_empty_house_is_closed_at_once(house: House) -> None:
    with gevent.Timeout(1):
        see_off(house)


def test_a_server_that_has_closed_sends_a_late_guest_back(house: House) -> None:
    ticket, member = house.gate.count("ann", "a"), house.reserve("ann")
    house.server.close()
    socket = SocketFake(house.clock, house.gate.bounds)

    house.gate.enter(socket, member, ticket, v1=True, resume=None)

    assert socket.closing is not None
    assert socket.closing.code == 1012
    part(socket)
    assert house.counted == (0, 0)
    with pytest.raises(ServerClosed):
        house.reserve("bob")


# Deadlines


def test_a_peer_that_never_answers_a_ping_has_just_the_time_that_is_set(make_house: MakeHouse, clock: TurnedClock) -> None:
    house = make_house(PING_INTERVAL=5, PING_TIMEOUT=3)
    silent, alive = house.enter("ann", v1=False), house.enter("bob", v1=False)

    def pass_time(seconds: int) -> tuple[int, Closing | None]:
        for _ in range(seconds):
            clock.advance(1)
        return silent.pings, silent.closing

    assert pass_time(4) == (0, None)
    assert pass_time(2) == (1, None)  # looked at once a second
    alive.hear(client_frame(b"", PONG))
    assert pass_time(2) == (1, None)
    assert pass_time(2) == (1, STALE)
    assert alive.closing is None
