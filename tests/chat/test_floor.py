"""Who may speak how much before the others have had their say."""

import pytest

from chat.closing import GONE
from chat.floor import SHARE, Floor
from chat.member import Member, State, Step
from chat.requests import Request
from chat.tokens import Grant
from tests.chat.fakes import DirectFake


class House:
    """A channel of which nothing is expected here."""

    def receive(self, member: Member, request: Request) -> None: ...

    def enter(self, member: Member, *, wait: bool) -> None: ...

    def lost(self, member: Member) -> None: ...


def make_member(name: str) -> Member:
    member = Member(name, Grant(name, "lobby"), House())
    member.join(DirectFake())
    member.step(Step.WELCOMED)
    return member


def members(many: int) -> list[Member]:
    return [make_member(f"user {number}") for number in range(many)]


def say(floor: Floor, member: Member, most: int = 1000, *, full: bool = False) -> int:
    """Speak until paused; return how often."""
    for count in range(most):
        if member.conn.paused:
            return count
        floor.enter(member, full=full)
    return most


def test_one_alone_may_fill_a_share_and_no_more():
    ann = make_member("ann")

    assert say(Floor(1024), ann) == SHARE


def test_the_more_speak_the_smaller_the_share():
    floor = Floor(64)
    crowd = members(16)
    for member in crowd:
        floor.enter(member, full=False)

    assert [1 + say(floor, member) for member in crowd] == [4] * 16


@pytest.mark.parametrize("speakers", [64, 65, 200])
def test_where_more_speak_than_there_is_room_each_gets_one_in(speakers: int):
    floor = Floor(64)
    crowd = members(speakers)
    for member in crowd:
        say(floor, member, 1)
    for member in crowd:
        say(floor, member)

    assert {member.queued for member in crowd[64:]} <= {1}
    for member in crowd:
        for _ in range(member.queued):
            floor.leave(member)
    floor.resume()
    assert [say(floor, member) for member in crowd] == [1] * speakers


def test_who_has_used_up_half_of_a_share_may_go_on():
    floor, ann = Floor(1024), make_member("ann")
    say(floor, ann)
    for _ in range(SHARE // 2 - 1):
        floor.leave(ann)
    floor.resume()
    assert ann.conn.paused

    floor.leave(ann)
    floor.resume()

    assert not ann.conn.paused
    assert say(floor, ann) == SHARE // 2


def test_a_full_inbox_makes_everybody_wait_who_speaks():
    floor, ann = Floor(1024), make_member("ann")

    assert say(floor, ann, full=True) == 1


def test_when_the_crowd_has_gone_a_share_is_whole_again():
    floor = Floor(64)
    crowd = members(64)
    for member in crowd:
        say(floor, member)
    for member in crowd:
        for _ in range(member.queued):
            floor.leave(member)
    floor.resume()
    floor.resume()

    assert say(floor, crowd[0]) == SHARE


def test_who_left_while_paused_is_not_resumed_and_takes_no_share():
    floor = Floor(64)
    ann, bob = members(2)
    assert [say(floor, ann), say(floor, bob)] == [SHARE, SHARE]
    ann.drop(GONE)
    for _ in range(SHARE):
        floor.leave(ann)
        floor.leave(bob)
    floor.resume()

    assert (ann.state, ann.conn.paused) == (State.LEAVING, True)
    assert say(floor, bob) == SHARE
