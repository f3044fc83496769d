import gevent
import pytest

from chat.closing import CHANNEL_CLOSED, KICKED, REPLACED
from chat.errors import ChannelClosed, UserAlreadyConnected
from chat.member import EVERYBODY, TRANSITIONS, IllegalStep, Member, Resume, State, Step, next_state
from chat.requests import Publish
from chat.tokens import Grant
from tests.chat.fakes import DirectFake, HomeFake
from tests.chat.steps import never_yields

EVERY_PAIR = [(state, step) for state in State for step in Step]
LEGAL = {
    (State.RESERVED, Step.CONNECTED): State.JOINING,
    (State.RESERVED, Step.DROPPED): State.GONE,
    (State.JOINING, Step.WELCOMED): State.LIVE,
    (State.JOINING, Step.DROPPED): State.LEAVING,
    (State.LIVE, Step.DROPPED): State.LEAVING,
    (State.LEAVING, Step.DROPPED): State.LEAVING,
    (State.LEAVING, Step.ANNOUNCED): State.GONE,
    (State.GONE, Step.DROPPED): State.GONE,
}


@pytest.fixture
def home() -> HomeFake:
    return HomeFake()


@pytest.fixture
def member(home) -> Member:
    return Member("m1", Grant("ada", "lobby", "s1", {"color": "red"}), home)


@pytest.fixture
def conn() -> DirectFake:
    return DirectFake()


def bring_to(member: Member, conn: DirectFake, state: State) -> Member:
    """The same member, in `state`, by legal steps."""
    if state is State.RESERVED:
        return member
    member.join(conn)
    if state is not State.JOINING:
        member.step(Step.WELCOMED)
        member.start()
    if state in (State.LEAVING, State.GONE):
        member.drop(KICKED)
    if state is State.GONE:
        member.step(Step.ANNOUNCED)
    assert member.state is state
    return member


@pytest.mark.parametrize(("state", "step"), EVERY_PAIR)
def test_every_pair_is_a_known_move_or_refused(state, step):
    if (state, step) in LEGAL:
        assert next_state(state, step) is LEGAL[state, step]
    else:
        with pytest.raises(IllegalStep, match=f"{state.value} cannot be {step.value}"):
            next_state(state, step)


@pytest.mark.parametrize(("state", "step"), [pair for pair in EVERY_PAIR if pair not in LEGAL])
def test_an_illegal_move_changes_nothing(member, conn, home, state, step):
    bring_to(member, conn, state)
    lost, entered = list(home.lost_members), list(home.entered)

    with pytest.raises(IllegalStep):
        member.step(step)

    assert member.state is state
    assert (home.lost_members, home.entered) == (lost, entered)


@pytest.mark.parametrize("state", State)
def test_the_network_needs_no_permission_to_drop(state):
    assert Step.DROPPED in TRANSITIONS[state]


def test_the_table_has_no_other_moves():
    moves = {(state, step): after for state, row in TRANSITIONS.items() for step, after in row.items()}

    assert moves == LEGAL


def test_it_begins_reserved_with_what_the_token_gave(member):
    assert member.state is State.RESERVED
    assert member.username == "ada"
    assert (member.grant.session, member.grant.data) == ("s1", {"color": "red"})
    assert member.resume is None


def test_nobody_moderates_unless_told():
    assert "moderate" not in EVERYBODY
    assert {"join", "publish", "whisper"} <= EVERYBODY


def test_joining_enters_the_channel(member, conn, home):
    member.join(conn, resume=Resume("e1", 3, 10))

    assert member.state is State.JOINING
    assert home.entered == [member]
    assert member.conn is conn
    assert member.resume == Resume("e1", 3, 10)


@pytest.mark.parametrize("state", [State.JOINING, State.LIVE, State.LEAVING])
def test_joining_twice_is_refused_and_changes_nothing(member, conn, home, state):
    bring_to(member, conn, state)

    with pytest.raises(IllegalStep):
        member.join(DirectFake(), resume=Resume("e1", 3, 10))

    assert member.state is state
    assert member.conn is conn
    assert member.resume is None
    assert home.entered == [member]


def test_who_lost_the_reservation_cannot_join(member, conn, home):
    member.cancel()

    with pytest.raises(ChannelClosed):
        member.join(conn)

    assert conn.closing is None
    assert home.entered == []


@pytest.mark.parametrize("closing", [KICKED, REPLACED])
def test_who_was_dropped_since_then_is_told_why_once_there_is_a_connection(member, conn, home, closing):
    member.drop(closing)
    member.join(conn)

    assert conn.closing == closing
    assert (home.entered, home.lost_members) == ([], [member])


@pytest.mark.parametrize(
    ("closing", "error"),
    [(KICKED, ChannelClosed), (REPLACED, UserAlreadyConnected), (CHANNEL_CLOSED, ChannelClosed)],
)
def test_or_by_an_error_where_the_joiner_waits(member, conn, closing, error):
    member.drop(closing)

    with pytest.raises(error):
        member.join(conn, wait=True)

    assert conn.closing is None


def test_a_cancelled_reservation_is_given_back_once(member, home):
    for _ in range(3):
        member.cancel()

    assert member.state is State.GONE
    assert home.lost_members == [member]


@pytest.mark.parametrize("state", [State.JOINING, State.LIVE, State.LEAVING, State.GONE])
def test_only_a_reservation_can_be_cancelled(member, conn, home, state):
    bring_to(member, conn, state)
    lost = list(home.lost_members)
    member.cancel()

    assert member.state is state
    assert home.lost_members == lost


def test_dropping_a_reservation_cancels_it(member, home):
    member.drop(KICKED)

    assert member.state is State.GONE
    assert home.lost_members == [member]


@pytest.mark.parametrize("state", [State.JOINING, State.LIVE])
def test_who_is_dropped_is_told_why_and_lost_once(member, conn, home, state):
    bring_to(member, conn, state)
    for _ in range(3):
        member.drop(KICKED)

    assert member.state is State.LEAVING
    assert conn.closing == KICKED
    assert home.lost_members == [member]


def test_dropping_never_yields(member, conn):
    bring_to(member, conn, State.LIVE)

    with never_yields():
        member.drop(KICKED)


def test_who_hangs_up_is_lost_once(member, conn, home):
    bring_to(member, conn, State.LIVE)
    conn.hang_up()
    conn.hang_up()

    assert member.state is State.LEAVING
    assert home.lost_members == [member]


def test_only_a_live_member_is_heard(member, conn, home):
    bring_to(member, conn, State.LIVE)
    conn.say("heard")
    member.step(Step.DROPPED)
    conn.say("not heard")

    assert [request.text for request in home.heard] == ["heard"]


@pytest.mark.parametrize("state", [State.LEAVING, State.GONE])
def test_nobody_waits_for_a_connection_that_has_ended(member, conn, state):
    bring_to(member, conn, state)

    with never_yields():
        member.wait()


@pytest.mark.parametrize("state", [State.RESERVED, State.JOINING, State.LIVE])
def test_all_who_wait_are_told_of_the_end(member, conn, state):
    bring_to(member, conn, state)
    waiting = [gevent.spawn(member.wait) for _ in range(3)]
    gevent.idle()
    assert not any(one.ready() for one in waiting)

    member.drop(KICKED)

    assert len(gevent.joinall(waiting, timeout=2)) == 3


def test_a_publish_reaches_the_channel_as_it_is(member, conn, home):
    bring_to(member, conn, State.LIVE)
    conn.say("hello", id="a-1", to="bob")

    assert home.heard == [Publish("hello", "", "a-1", "bob")]


def test_a_member_that_is_flushed_waits_for_its_channel(member, home):
    member.flush()

    assert home.flushes == 1
