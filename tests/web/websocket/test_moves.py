"""One socket that joins, leaves and speaks in any order, while the server ends what it likes: all is answered, and nothing
is left."""

import json
from collections import Counter
from contextlib import suppress
from itertools import count

import gevent
import pytest
from gevent.event import Event as Flag
from hypothesis import given
from hypothesis import strategies as st

from chat.closing import Closing
from chat.errors import UserNotHere
from chat.frames import Limits
from chat.member import Member
from chat.requests import Leave
from chat.testing import TurnedClock, no_greenlet_left
from chat.tokens import Grant
from tests.chat.fakes import HomeFake
from tests.chat.steps import never_yields, wait_until
from tests.web.fakes import SocketFake, close_frame
from tests.web.websocket.house import House, part
from web.websocket.conn import V1Peer, V1Rules
from web.websocket.formats import V1Formats
from web.websocket.limits import SocketLimits
from web.websocket.moves import Moves
from web.websocket.peer import Rules

CHANNELS = ("lobby", "attic", "garden")
LOGIN = "the login"

STEPS = ("join", "leave", "publish", "close", "kick", "forbid")
ENDS = ("hang up", "say goodbye", "cut off", "log out", "drain")


class Visit:
    """A socket of ann's, what it has asked for, and what it may expect."""

    def __init__(self) -> None:
        self.house = House(TurnedClock(), MESSAGE_RATE=0)
        for name in CHANNELS[1:]:
            self.house.server.create_channel(name)
        self.socket: SocketFake = self.house.enter("ann", session=LOGIN)
        self._numbers = count(1)
        self.asked: set[str] = set()
        self.left: set[str] = set()  # those of them that were leaves
        self.said: dict[str, set[str]] = {name: set() for name in CHANNELS}
        self.may_be_lost: set[str] = set()  # said in a channel that the server has ended since

    @property
    def is_open(self) -> bool:
        return self.socket.closing is None

    def do(self, step: str, channel: str, turns: int) -> None:
        """One step, and so many turns for others."""
        if step in ("join", "leave", "publish"):
            self._ask(step, channel)
        elif step in ENDS:
            self._end(step)
        else:
            self._cut(step, channel)
        for _ in range(turns):
            gevent.sleep(0)

    def _ask(self, step: str, channel: str) -> None:
        if not (self.is_open and self.socket.reading):
            return
        id = str(next(self._numbers))
        request = {"type": step, "id": id}
        if step == "join":
            request["token"] = self.house.server.request_token("ann", channel, session=LOGIN)
        else:
            request |= {"channel": channel, "text": "hi"}
        (self.said[channel] if step == "publish" else self.asked).add(id)
        if step == "leave":
            self.left.add(id)
        self.socket.say(json.dumps(request))

    def _cut(self, step: str, channel: str) -> None:
        self.may_be_lost |= self.said[channel]
        found = self.house.server.get_channel(channel)
        if step == "close":
            found.close()
            self.house.server.create_channel(channel)
        elif step == "kick":
            with suppress(UserNotHere):
                found.remove_user("ann")
        else:
            self.house.review(lambda _, asked: frozenset() if asked == channel else frozenset({"join", "publish"}))
            self.house.rights_of = lambda _user, _channel: frozenset({"join", "publish"})

    def _end(self, step: str) -> None:
        if not (self.is_open and self.socket.reading):
            return
        match step:
            case "hang up":
                self.socket.hang_up()
            case "say goodbye":
                self.socket.hear(close_frame())
            case "cut off":
                self.socket.abort()
            case "log out":
                self.house.gate.close_session(LOGIN)
            case _:
                self.house.gate.hush()
                self.house.gate.see_off(lambda: False)

    def settle(self) -> None:
        """Let everything that is under way come to its end."""
        wait_until(lambda: not self.house.gate._moves._greenlets)
        self.house.server.flush()

    def check_answers(self) -> None:
        """Each came once; of those that ended with their channel, or with the socket, at most once."""
        answers = Counter(event["id"] for event in self.socket.events if event["type"] in ("ack", "error"))
        said = set().union(*self.said.values())
        assert answers.keys() <= self.asked | said
        assert set(answers.values()) <= {1}
        if self.is_open:
            assert answers.keys() >= (self.asked | said) - self.may_be_lost

    def check_order(self) -> None:
        """Of a channel nothing comes before its welcome, and nothing behind its end but what was refused."""
        inside = set()
        for event in self.socket.events:
            channel, type = event.get("channel"), event["type"]
            if type == "welcome":
                assert channel not in inside
                inside.add(channel)
            elif type == "closed":
                inside.remove(channel)
            elif type != "error":
                assert channel in inside or type == "ack", event
            if type == "ack" and event["id"] in self.left:
                inside.discard(channel)
        if self.is_open:
            assert inside == {member.grant.channel for peer in self.house.gate._guests for member in peer.members}

    def check_nothing_is_left(self) -> None:
        wait_until(lambda: self.house.counted == (0, 0))
        assert not self.house.gate._moves._greenlets
        assert not any(self.house.gate._heartbeat._buckets.values())
        for name in CHANNELS:
            channel = self.house.server.get_channel(name)
            wait_until(lambda channel=channel: channel.get_users() == [] and not channel._loop.members)


often = st.sampled_from(("join", "join", "leave", "publish", "publish", *STEPS))
step = st.integers(0, 20).flatmap(lambda luck: often if luck else st.sampled_from(ENDS))


@given(st.lists(st.tuples(step, st.sampled_from(CHANNELS), st.integers(0, 4)), max_size=30))
def test_whatever_a_socket_asks_for_is_answered_once_and_nothing_is_left_of_it(plan: list[tuple[str, str, int]]) -> None:
    with gevent.Timeout(10), no_greenlet_left():
        visit = Visit()
        for step in plan:
            visit.do(*step)
        visit.settle()
        visit.check_answers()
        visit.check_order()
        if visit.socket.reading and visit.is_open:
            visit.socket.hang_up()
        part(visit.socket)
        visit.check_nothing_is_left()
        visit.house.server.close()


def test_to_ask_for_a_move_never_yields() -> None:
    visit = Visit()

    with never_yields():
        visit._ask("join", "attic")
        visit._ask("leave", "lobby")

    visit.settle()
    assert {event["id"] for event in visit.socket.events if event["type"] == "ack"} == visit.asked
    visit.socket.hang_up()
    visit.house.server.close()


def test_a_leave_that_follows_its_join_at_once_is_done_in_its_turn() -> None:
    visit = Visit()

    for step in ("join", "leave", "leave"):
        visit._ask(step, "attic")
    visit.settle()
    heard = [event for event in visit.socket.events if event["type"] in ("ack", "error")]

    assert [(event["type"], event.get("id"), event.get("code")) for event in heard] == [
        ("ack", "1", None),
        ("ack", "2", None),
        ("error", "3", "not_joined"),
    ]
    assert visit.house.server.get_channel("attic").get_users() == []
    visit.socket.hang_up()
    visit.house.server.close()


class Stuck(HomeFake):
    """A channel that a hook holds up."""

    def flush(self) -> None:
        Flag().wait()


@pytest.mark.parametrize("welcomed", [True, False])
def test_a_channel_that_is_held_up_can_be_left_all_the_same(clock: TurnedClock, welcomed: bool) -> None:
    socket, gone = SocketFake(clock), []
    moves = Moves(House(clock).gate, 0, patience=0.01)
    rules = Rules.of(SocketLimits(), clock, lambda _: None)
    formats = V1Formats(Limits(4096, 10.0), 25.0)
    lobby, attic = (Grant("ann", name) for name in ("lobby", "attic"))
    peer = V1Peer(socket, V1Rules.beyond(rules, formats, moves.put), lobby)
    peer.add(Member("1", lobby, HomeFake())).start(gone.append, gone.append)
    conn = peer.add(Member("2", attic, Stuck()), "j")
    if welcomed:
        conn.start(gone.append, gone.append)

    moves.put(peer, Leave("attic", "l"))
    wait_until(lambda: peer.moves is None)

    assert [(event["type"], event["id"], event.get("code")) for event in socket.events] == [
        ("ack", "j", None) if welcomed else ("error", "j", "channel_closed"),
        ("ack", "l", None),
    ]
    assert gone == ([Closing(1000, "left")] if welcomed else [])
    assert len(peer.members) == 1
