"""Who comes is told who is here, so that with what is told afterwards it stays true."""

from collections.abc import Callable, Sequence

import pytest

from chat.crowd import LISTED
from chat.event import Joined, Left, Notice, Presence, User
from chat.presence import MemoryPresence
from chat.roster import KEPT, READS, Roster
from chat.testing import TurnedClock
from tests.chat.contracts.hearing import DATE

ROOM = "lobby/e1"
ADA, BOB = User("ada"), User("bob")


class DistantPresence(MemoryPresence):
    """One that is asked over a network: its answers do not say what happens while they are on their way."""

    def __init__(self, *usernames: str) -> None:
        super().__init__()
        self.meanwhile: list[Callable[[], object]] = []  # an answer each
        self.reads = 0
        for username in usernames:
            self.come(username)

    def come(self, username: str) -> None:
        self.reserve(ROOM, username, username, "reject")
        self.confirm(ROOM, User(username), username)

    def go(self, username: str) -> None:
        self.release(ROOM, username, username)

    def users(self, channel: str, limit: int | None = None) -> list[User]:
        self.reads += 1
        return self._late(super().users(channel, limit))

    def count(self, channel: str) -> int:
        return self._late(super().count(channel))

    def _late(self, answer):
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return answer


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


def names(users: Sequence[User]) -> list[str]:
    return [user.username for user in users]


def crowd() -> list[str]:
    return [f"user{number:04}" for number in range(LISTED)]


def test_all_are_named_in_a_small_room_each_time(clock):
    presence = DistantPresence("ada", "bob")
    roster = Roster(ROOM, presence, clock)

    assert roster.read() == ((ADA, BOB), 2)
    presence.come("cy")
    assert roster.read() == ((ADA, BOB, User("cy")), 3)


@pytest.mark.parametrize("left", [Left("bob", DATE), Presence((), ("bob",), 1, DATE)], ids=["alone", "folded"])
def test_who_is_told_to_have_left_while_it_is_read_is_not_named(clock, left: Notice):
    presence = DistantPresence("ada", "bob")
    roster = Roster(ROOM, presence, clock)
    presence.meanwhile = [lambda: roster.told([left])]

    assert roster.read() == ((ADA,), 1)
    assert presence.reads == 1


@pytest.mark.parametrize("joined", [Joined(ADA, DATE), Presence((ADA,), (), 2, DATE)], ids=["alone", "folded"])
def test_who_is_told_to_have_come_while_it_is_read_is_named(clock, joined: Notice):
    presence = DistantPresence("bob")
    roster = Roster(ROOM, presence, clock)
    presence.meanwhile = [lambda: roster.told([joined])]

    assert roster.read() == ((ADA, BOB), 2)


def test_the_last_word_counts(clock):
    presence = DistantPresence("ada", "bob")
    roster = Roster(ROOM, presence, clock)
    countess = User("ada", "Countess")
    presence.meanwhile = [lambda: roster.told([Left("ada", DATE), Joined(countess, DATE), Left("bob", DATE)])]

    assert roster.read() == ((countess,), 1)


def test_what_was_told_before_is_in_the_answer(clock):
    presence = DistantPresence("ada", "bob")
    roster = Roster(ROOM, presence, clock)
    roster.told([Left("bob", DATE)])
    presence.meanwhile = [lambda: roster.told([Joined(ADA, DATE)])]

    assert roster.read() == ((ADA, BOB), 2), "bob has come back since, of which is told later"
    presence.go("ada")
    assert roster.read() == ((BOB,), 1)


def test_two_may_read_at_a_time(clock):
    presence = DistantPresence("ada", "bob")
    roster = Roster(ROOM, presence, clock)
    inner = []

    def another_reads() -> None:
        presence.meanwhile = [lambda: roster.told([Left("bob", DATE)])]
        inner.append(roster.read())

    presence.meanwhile = [another_reads]

    assert roster.read() == ((ADA,), 1)
    assert inner == [((ADA,), 1)]


def test_it_is_read_again_where_not_all_may_have_been_told(clock):
    presence = DistantPresence("ada", "bob")
    roster = Roster(ROOM, presence, clock)

    def connection_is_lost() -> None:
        presence.go("bob")
        roster.reset()

    presence.meanwhile = [connection_is_lost]

    assert roster.read() == ((ADA,), 1)


def test_but_not_for_ever(clock):
    presence = DistantPresence("ada")
    roster = Roster(ROOM, presence, clock)
    presence.meanwhile = [roster.reset] * 100

    assert roster.read() == ((ADA,), 1)
    assert presence.reads == READS


def test_the_names_of_a_large_room_are_read_once_for_many_who_come_together(clock):
    presence = DistantPresence(*crowd())
    roster = Roster(ROOM, presence, clock)
    users, count = roster.read()
    presence.come("zoe")
    clock.advance(KEPT / 2)

    assert (len(users), count) == (LISTED, LISTED)
    assert roster.read() == (users, LISTED + 1), "the count is true"
    assert presence.reads == 1


def test_they_are_read_again_after_a_while(clock):
    presence = DistantPresence(*crowd())
    roster = Roster(ROOM, presence, clock)
    roster.read()
    clock.advance(KEPT)
    roster.read()

    assert presence.reads == 2


def test_they_keep_up_with_what_is_told(clock):
    presence = DistantPresence(*crowd(), "zoe")
    roster = Roster(ROOM, presence, clock)
    first, second, *_ = names(roster.read()[0])
    presence.go(first)
    roster.told([Left(first, DATE), Joined(User(second, "Second"), DATE), Joined(ADA, DATE), Joined(BOB, DATE)])
    users, _ = roster.read()

    assert (users[:2], users[2], len(users)) == ((ADA, BOB), User(second, "Second"), LISTED)
    assert presence.reads == 1


def test_they_are_forgotten_where_not_all_may_have_been_told(clock):
    presence = DistantPresence(*crowd())
    roster = Roster(ROOM, presence, clock)
    roster.read()
    roster.reset()
    roster.read()

    assert presence.reads == 2


def test_the_count_of_a_large_room_is_asked_again_where_somebody_comes_meanwhile(clock):
    presence = DistantPresence(*crowd())
    roster = Roster(ROOM, presence, clock)

    def zoe_comes() -> None:
        presence.come("zoe")
        roster.told([Joined(User("zoe"), DATE)])

    presence.meanwhile = [lambda: None, zoe_comes]
    users, count = roster.read()

    assert (len(users), count) == (LISTED, LISTED + 1)
