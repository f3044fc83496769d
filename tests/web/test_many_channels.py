"""Many channels on one socket, over a real server: joins, leaves, and what ends one of them or all."""

from collections.abc import Callable
from time import monotonic

import gevent
import pytest
from gevent.event import Event as Flag
from sqlalchemy import text

from chat.closing import CHANNEL_CLOSED, KICKED, LOGGED_OUT, NOT_ALLOWED, REPLACED, Closing
from chat.member import State
from chat.tokens import Grant
from tests.chat.steps import wait_until
from tests.web.conftest import MakeHost
from web.testing import Chatter, Site
from web.testing.fixtures import ServeChat
from web.websocket.peer import Peer

CHANNELS = ("lobby", "attic", "garden")

MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(make_host: MakeHost, serve_chat: ServeChat) -> MakeSite:
    def make(**given: object) -> Site:
        site = serve_chat(make_host(**given), database=None)
        for name in CHANNELS:
            site.server.create_channel(name)
        return site

    return make


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site()


def enter_by(site: Site, token: str) -> Chatter:
    """Come in by a token for the lobby."""
    chatter = site._keep(Chatter(site.port, "lobby"))
    chatter.enter(site.chat.socket_path, token)
    return chatter


def join(site: Site, chatter: Chatter, *channels: str) -> None:
    """Let ann into more channels."""
    for channel in channels:
        assert chatter.join(site.token(channel, "ann"))["channel"] == channel


def peer_of(site: Site, chatter: Chatter) -> Peer:
    """The server's side of ann, who came in by that channel."""
    found = [peer for peer in site.chat.gate._guests if peer.grant == Grant("ann", chatter.channel)]
    return found[0]


def users(site: Site) -> dict[str, list[str]]:
    return {name: site.server.get_channel(name).get_users() for name in site.server.channels()}


def refused(chatter: Chatter, token: str, **more: object) -> dict[str, object]:
    """The error that answers a join, without its message; whoever asks stays in the lobby."""
    id = chatter.ask_by_id("join", token=token, **more)
    error = chatter.hear("error", "welcome")
    assert (error.pop("type"), error.pop("id")) == ("error", id)
    assert error.pop("message")
    said = chatter.publish("still here")
    assert chatter.hear("ack")["id"] == said
    return error


def error(code: str, *, retry: bool = False) -> dict[str, object]:
    return {"code": code, "retry": retry}


# Join


def test_a_join_is_welcomed_and_then_acked_and_each_channel_is_heard_by_its_name(site: Site) -> None:
    ann, bob = site.enter("lobby", "ann"), site.enter("attic", "bob")

    id = ann.ask_by_id("join", token=site.token("attic", "ann"))
    welcome, ack = ann.hear("welcome"), ann.hear("ack")
    said = ann.publish("hello", channel="attic")
    ann.publish("hi")

    assert (welcome["channel"], welcome["users"]) == ("attic", [{"user": "ann"}, {"user": "bob"}])
    assert ack == {"type": "ack", "channel": "attic", "id": id, "offset": None}
    heard = bob.hear("message")
    assert (heard["from"], heard["text"], heard["id"]) == ("ann", "hello", said)
    assert {(event["channel"], event["text"]) for event in (ann.hear("message"), ann.hear("message"))} == {
        ("attic", "hello"),
        ("lobby", "hi"),
    }
    assert users(site) == {"attic": ["ann", "bob"], "garden": [], "lobby": ["ann"]}
    assert len(site.chat.gate) == len(site.chat.gate.census) == 2


def test_joins_that_are_asked_for_at_once_are_all_done_in_order(site: Site) -> None:
    ann = site.enter("lobby", "ann")

    ids = [ann.ask_by_id("join", token=site.token(channel, "ann")) for channel in ("attic", "garden")]

    assert [ann.hear("welcome")["channel"] for _ in ids] == ["attic", "garden"]
    wait_until(lambda: users(site) == {name: ["ann"] for name in CHANNELS})


def test_a_join_without_an_id_is_answered_by_its_welcome_alone(site: Site) -> None:
    ann = site.enter("lobby", "ann")

    ann.ask(type="join", token=site.token("attic", "ann"))

    assert ann.hear("welcome", "ack")["channel"] == "attic"
    id = ann.publish("hi")
    assert ann.hear("ack")["id"] == id


def test_each_channel_goes_on_where_its_own_position_says(site: Site) -> None:
    for name, texts in {"attic": ["one", "two"], "garden": ["three"]}.items():
        for said in texts:
            site.server.get_channel(name).new_system_broadcast(said)
        site.server.get_channel(name).flush()
    ann = site.enter("lobby", "ann")

    for name, offset in {"attic": 1, "garden": 0}.items():
        epoch = site.server.get_channel(name).epoch
        ann.ask_by_id("join", token=site.token(name, "ann"), epoch=epoch, offset=offset)
    heard = [ann.hear("welcome", "message", "ack") for _ in range(6)]

    told = [(event["channel"], event.get("text", event["type"])) for event in heard]
    assert [said for channel, said in told if channel == "attic"] == ["welcome", "two", "ack"]
    assert [said for channel, said in told if channel == "garden"] == ["welcome", "three", "ack"]
    assert {event["recovered"] for event in heard if event["type"] == "welcome"} == {True}


@pytest.mark.parametrize("position", [{}, {"epoch": "e"}, {"offset": 0}, {"epoch": "other", "offset": 0}])
def test_half_of_a_position_or_a_strange_one_recovers_nothing(site: Site, position: dict[str, object]) -> None:
    ann = site.enter("lobby", "ann")

    assert ann.join(site.token("attic", "ann"), **position)["recovered"] is False


# What is refused


def test_a_token_is_good_once(site: Site) -> None:
    ann = site.enter("lobby", "ann")
    token = site.token("attic", "ann")
    ann.join(token)

    assert refused(ann, token) == error("invalid_token")
    assert refused(ann, "none") == error("invalid_token")


def test_a_token_that_is_too_old_is_told_so(make_site: MakeSite) -> None:
    site = make_site(TOKEN_DEADLINE=0.05)
    ann = site.enter("lobby", "ann")
    token = site.token("attic", "ann")
    issued = monotonic()
    wait_until(lambda: monotonic() > issued + 0.05)

    assert refused(ann, token) == error("expired_token")


@pytest.mark.parametrize(("username", "session"), [("bob", "one"), ("ann", "two"), ("ann", None)])
def test_a_token_of_another_user_or_another_login_is_refused_and_spent(
    site: Site, username: str, session: str | None
) -> None:
    server = site.server
    ann = enter_by(site, server.request_token("ann", "lobby", session="one"))
    token = server.request_token(username, "attic", session=session)

    assert refused(ann, token) == error("other_user")
    assert refused(ann, token) == error("invalid_token")
    assert users(site)["attic"] == []
    assert ann.join(server.request_token("ann", "attic", session="one"))["channel"] == "attic"


def test_a_channel_is_joined_once(site: Site) -> None:
    ann = site.enter("lobby", "ann")
    join(site, ann, "attic")

    for channel in ("attic", "lobby"):
        assert refused(ann, site.token(channel, "ann")) == error("already_joined")
    assert users(site)["attic"] == ["ann"]


def test_there_may_be_a_hundred_channels_and_not_one_more_until_one_is_left(make_site: MakeSite) -> None:
    site = make_site(MESSAGE_RATE=0)
    ann = site.enter("lobby", "ann")
    for number in range(99):
        site.server.create_channel(f"room {number}")
        ann.ask(type="join", token=site.token(f"room {number}", "ann"))
    for _ in range(99):
        ann.hear("welcome")
    token = site.token("attic", "ann")

    assert refused(ann, token) == error("too_many_channels")
    ann.leave("room 7")

    assert ann.join(token)["channel"] == "attic", "a refusal that needs no token spends none"
    assert len(site.chat.gate.census) == 1


def test_who_may_not_join_is_refused(make_site: MakeSite) -> None:
    site = make_site(authorize=lambda username, channel, action: channel != "attic")
    ann = site.enter("lobby", "ann")

    assert refused(ann, site.token("attic", "ann")) == error("forbidden")
    assert users(site)["attic"] == []


def test_a_channel_that_is_none_is_refused(site: Site) -> None:
    ann = site.enter("lobby", "ann")
    token = site.token("attic", "ann")
    site.server.get_channel("attic").close()

    assert refused(ann, token) == error("invalid_channel")
    assert refused(ann, site.token("cellar", "ann")) == error("invalid_channel")


def test_a_name_that_is_taken_is_refused(make_site: MakeSite) -> None:
    site = make_site(DUPLICATE_USER="reject")
    site.enter("attic", "ann")
    ann = site.enter("lobby", "ann")

    assert refused(ann, site.token("attic", "ann")) == error("user_already_connected")


def test_a_database_that_fails_and_an_authorize_that_fails_cost_one_join_alone(
    make_site: MakeSite, caplog: pytest.LogCaptureFixture
) -> None:
    def authorize(username: str, channel: str, action: str) -> bool:
        if channel == "garden":
            raise RuntimeError("no answer")
        return True

    site = make_site(authorize=authorize)
    ann = site.enter("lobby", "ann")
    tokens = [site.token("garden", "ann"), site.token("cellar", "ann")]
    site.chat.database.run(lambda session: session.execute(text("DROP TABLE chat_channels")) and None)

    assert refused(ann, tokens[0]) == error("internal_error", retry=True)
    assert refused(ann, tokens[1]) == error("database_unavailable", retry=True)
    assert "a join failed" in caplog.text
    join(site, ann, "attic")


@pytest.mark.parametrize("offset", [-1, 1.5, "1", 2**53, True])
def test_an_offset_that_is_none_is_a_bad_request_and_spends_no_token(site: Site, offset: object) -> None:
    ann = site.enter("lobby", "ann")
    token = site.token("attic", "ann")

    assert refused(ann, token, epoch="e", offset=offset) == error("bad_request")
    ann.join(token)


def test_too_many_joins_are_refused_by_the_rate_of_messages(make_site: MakeSite) -> None:
    site = make_site(MESSAGE_RATE=0.1)
    ann = site.enter("lobby", "ann")
    ann.ask_by_id("join", token=site.token("attic", "ann"))

    id = ann.ask_by_id("join", token=site.token("garden", "ann"))

    assert ann.hear("error") | {"message": ""} == {
        "type": "error",
        "id": id,
        "code": "rate_limited",
        "message": "",
        "retry": True,
    }


class Doorkeeper:
    """An `authorize` that lets whoever joins the attic wait."""

    def __init__(self) -> None:
        self.asked = Flag()
        self.go_on = Flag()
        self.allows = True

    def __call__(self, username: str, channel: str, action: str) -> bool:
        if channel != "attic":
            return True
        self.asked.set()
        assert self.go_on.wait(5)
        return self.allows


@pytest.fixture
def doorkeeper() -> Doorkeeper:
    return Doorkeeper()


@pytest.fixture
def waiting(make_site: MakeSite, doorkeeper: Doorkeeper) -> tuple[Site, Chatter]:
    """Ann is in the lobby, and her join of the attic is under way."""
    site = make_site(authorize=doorkeeper, MESSAGE_RATE=0, DUPLICATE_USER="reject")
    ann = enter_by(site, site.server.request_token("ann", "lobby", session="one"))
    ann.ask(type="join", id="j", token=site.server.request_token("ann", "attic", session="one"))
    assert doorkeeper.asked.wait(5)
    return site, ann


def test_more_than_a_hundred_joins_that_wait_are_too_many(waiting: tuple[Site, Chatter], doorkeeper: Doorkeeper) -> None:
    _, ann = waiting
    for number in range(102):
        ann.ask(type="join", id=f"j{number}", token="none")

    assert [(event["code"], event["id"]) for event in (ann.hear("error"), ann.hear("error"))] == [
        ("rate_limited", "j100"),
        ("rate_limited", "j101"),
    ]
    doorkeeper.go_on.set()
    answers = [ann.hear("error", "welcome") for _ in range(101)]
    assert [answer.get("id") for answer in answers if answer["type"] == "error"] == [f"j{number}" for number in range(100)]


def test_while_a_join_waits_all_else_goes_on_and_its_channel_is_not_joined(
    waiting: tuple[Site, Chatter], doorkeeper: Doorkeeper
) -> None:
    _, ann = waiting

    for request in ({"type": "publish", "text": "x"}, {"type": "history"}):
        ann.ask(channel="attic", id="1", **request)
        told = ann.hear("error")
        assert (told["code"], told["channel"], told["id"]) == ("not_joined", "attic", "1")
    for request in ({"type": "typing"}, {"type": "read", "offset": 0}):
        ann.ask(channel="attic", **request)
        told = ann.hear("error")
        assert (told["code"], told["channel"], "id" in told) == ("not_joined", "attic", False)
    said = ann.publish("hi")
    assert ann.hear("ack")["id"] == said

    doorkeeper.go_on.set()
    assert ann.hear("welcome")["channel"] == "attic"


@pytest.mark.parametrize("allows", [True, False])
@pytest.mark.parametrize("end", ["hangs up", "resets", "logs out"])
def test_a_socket_that_ends_while_its_join_waits_gives_back_what_was_taken(
    waiting: tuple[Site, Chatter], doorkeeper: Doorkeeper, end: str, allows: bool
) -> None:
    site, ann = waiting
    match end:
        case "hangs up":
            ann.hang_up()
        case "resets":
            ann.reset()
        case _:
            site.chat.close_session("one")
            assert ann.closing() == LOGGED_OUT
            ann.hang_up()
    wait_until(lambda: len(site.chat.gate.census) == 0)

    doorkeeper.allows = allows
    doorkeeper.go_on.set()
    wait_until(lambda: not site.chat.gate._moves._greenlets)

    wait_until(lambda: users(site) == {name: [] for name in CHANNELS})
    doorkeeper.allows = True
    assert site.enter("attic", "ann").welcome["users"] == [{"user": "ann"}], "the name is free"


def test_a_house_that_drains_while_a_join_waits_says_so(waiting: tuple[Site, Chatter], doorkeeper: Doorkeeper) -> None:
    site, ann = waiting
    site.chat.gate.hush()
    doorkeeper.go_on.set()

    answer = ann.hear("error", "welcome")

    assert (answer["code"], answer["retry"], answer["id"]) == ("server_closed", True, "j")
    assert users(site)["attic"] == []
    site.chat.drain()


def test_a_join_that_hangs_does_not_hold_the_end_up(waiting: tuple[Site, Chatter]) -> None:
    site, ann = waiting
    waits = site.chat.gate._moves._greenlets
    draining = gevent.spawn(site.chat.drain)

    assert ann.closing().code == 1012
    ann.hang_up()
    draining.get(timeout=5)
    assert not waits


def test_a_last_channel_that_is_left_while_a_join_waits_does_not_close_the_socket(
    waiting: tuple[Site, Chatter], doorkeeper: Doorkeeper
) -> None:
    site, ann = waiting
    ann.ask(type="leave", id="l", channel="lobby")
    doorkeeper.go_on.set()

    assert [ann.hear("ack")["id"] for _ in range(2)] == ["j", "l"]
    said = ann.publish("hi", channel="attic")
    assert ann.hear("ack")["id"] == said
    assert users(site) == {"attic": ["ann"], "garden": [], "lobby": []}


def test_a_last_channel_that_is_ended_while_a_join_waits_does_not_close_the_socket(
    waiting: tuple[Site, Chatter], doorkeeper: Doorkeeper
) -> None:
    site, ann = waiting
    site.server.get_channel("lobby").remove_user("ann")
    assert ann.hear("closed")["code"] == KICKED.code

    doorkeeper.go_on.set()

    assert ann.hear("welcome")["channel"] == "attic"


def test_a_socket_that_is_in_nothing_is_closed_when_its_last_join_is_refused(
    waiting: tuple[Site, Chatter], doorkeeper: Doorkeeper
) -> None:
    site, ann = waiting
    site.server.get_channel("lobby").remove_user("ann")
    doorkeeper.allows = False
    doorkeeper.go_on.set()

    assert ann.hear("error")["code"] == "forbidden"
    assert ann.closing() == Closing(1000)


class Greeting:
    """A hook that lets those wait who enter the attic after its first guest."""

    def __init__(self) -> None:
        self.go_on = Flag()

    def on_connect(self, channel: object, username: str) -> None:
        if username == "first":
            self.go_on.wait(5)


@pytest.mark.parametrize(
    ("end", "code", "retry"),
    [
        (lambda site: site.server.get_channel("attic").remove_user("ann"), "forbidden", False),
        (lambda site: site.server.get_channel("attic").reserve(Grant("ann", "attic")).cancel(), "channel_closed", True),
    ],
    ids=["kicked", "replaced"],
)
def test_a_channel_that_ends_before_its_welcome_answers_the_join(
    make_site: MakeSite, end: Callable[[Site], None], code: str, retry: bool
) -> None:
    greeting = Greeting()
    site = make_site(controller=greeting, DUPLICATE_USER="replace" if retry else "share")
    ann = site.enter("lobby", "ann")
    site.enter("attic", "ann")  # who is not listed cannot be kicked
    site.enter("attic", "first")
    id = ann.ask_by_id("join", token=site.token("attic", "ann"))
    wait_until(lambda: [member.state for member in peer_of(site, ann).members] == [State.LIVE, State.JOINING])

    ending = gevent.spawn(end, site)
    gevent.sleep(0)
    greeting.go_on.set()
    ending.get(timeout=5)

    answer = ann.hear("error", "welcome", "closed")
    assert answer.pop("message")
    assert answer == {"type": "error", "channel": "attic", "id": id, "code": code, "retry": retry}
    said = ann.publish("still here")
    assert ann.hear("ack", "error")["id"] == said


# Leave


def test_who_leaves_one_channel_stays_in_the_others(site: Site) -> None:
    ann, bob = site.enter("lobby", "ann"), site.enter("attic", "bob")
    join(site, ann, "attic")

    id = ann.ask_by_id("leave", channel="attic")

    assert ann.hear("ack") == {"type": "ack", "channel": "attic", "id": id, "offset": None}
    assert bob.hear("left")["user"] == {"user": "ann"}
    bob.publish("she is gone")
    assert bob.hear("message")["text"] == "she is gone"
    said = ann.publish("hi")
    heard = ann.events_until("ack")
    assert [event["channel"] for event in heard] == ["lobby", "lobby"]
    assert heard[-1]["id"] == said
    ann.ask_by_id("leave", channel="attic")
    assert ann.hear("error", "ack")["code"] == "not_joined"
    join(site, ann, "attic")


def test_what_was_said_before_leaving_is_said_and_answered_before_that(site: Site) -> None:
    ann, bob = site.enter("lobby", "ann"), site.enter("attic", "bob")
    join(site, ann, "attic")

    ids = [ann.publish(f"{number}", channel="attic") for number in range(5)]
    ids.append(ann.ask_by_id("leave", channel="attic"))
    too_late = ann.publish("too late", channel="attic")

    answers = [ann.hear("ack", "error") for _ in range(7)]
    assert [answer["id"] for answer in answers if answer["type"] == "ack"] == ids
    assert [answer["id"] for answer in answers if answer["type"] == "error"] == [too_late]
    assert [bob.hear("message")["text"] for _ in range(5)] == ["0", "1", "2", "3", "4"]


def test_a_channel_may_be_left_and_joined_again_without_waiting(site: Site) -> None:
    ann = site.enter("lobby", "ann")
    join(site, ann, "attic")

    ids = [
        ann.ask_by_id("leave", channel="attic"),
        ann.ask_by_id("join", token=site.token("attic", "ann")),
    ]

    assert [ann.hear("ack")["id"] for _ in ids] == ids
    said = ann.publish("back", channel="attic")
    assert ann.hear("ack")["id"] == said


def test_the_first_channel_may_be_left_before_the_others(site: Site) -> None:
    ann = site.enter("lobby", "ann")
    join(site, ann, "attic", "garden")

    ann.leave("lobby")

    said = ann.publish("hi", channel="garden")
    assert ann.hear("ack")["id"] == said
    site.chat.gate.review()
    assert users(site) == {"attic": ["ann"], "garden": ["ann"], "lobby": []}


def test_who_leaves_the_last_channel_is_answered_and_closed(site: Site) -> None:
    ann = site.enter("lobby", "ann")
    join(site, ann, "attic")
    ann.leave("attic")

    id = ann.ask_by_id("leave", channel="lobby")

    assert ann.hear("ack")["id"] == id
    assert ann.closing() == Closing(1000)
    ann.hang_up()
    wait_until(lambda: len(site.chat.gate.census) == 0)


# What the server ends


@pytest.mark.parametrize(
    ("end", "closing"),
    [
        (lambda site: site.server.get_channel("attic").remove_user("ann"), KICKED),
        (lambda site: site.server.get_channel("attic").close(), CHANNEL_CLOSED),
        (lambda site: site.enter("attic", "ann"), REPLACED),
    ],
    ids=["kicked", "closed", "replaced"],
)
def test_one_channel_that_the_server_ends_is_told_and_the_last_one_ends_the_socket(
    make_site: MakeSite, end: Callable[[Site], object], closing: Closing
) -> None:
    site = make_site(DUPLICATE_USER="replace")
    ann = site.enter("lobby", "ann")
    join(site, ann, "attic")

    end(site)

    assert ann.hear("closed") == {"type": "closed", "channel": "attic", "code": closing.code, "reason": closing.reason}
    ann.publish("x", channel="attic")
    assert ann.hear("error")["code"] == "not_joined"
    said = ann.publish("hi")
    assert ann.hear("ack")["id"] == said
    ann.leave("lobby") if closing is REPLACED else site.server.get_channel("lobby").remove_user("ann")
    assert ann.closing() == (Closing(1000) if closing is REPLACED else KICKED)


def test_who_may_not_stay_in_one_channel_stays_in_the_others(make_site: MakeSite) -> None:
    banned: set[str] = set()
    site = make_site(authorize=lambda username, channel, action: channel not in banned, REAUTHORIZE=0.02)
    ann = site.enter("lobby", "ann")
    join(site, ann, "attic")

    banned.add("attic")
    closed = ann.hear("closed")
    assert (closed["channel"], closed["code"], closed["reason"]) == ("attic", *NOT_ALLOWED)

    banned.add("lobby")
    assert ann.closing() == NOT_ALLOWED


def test_a_login_that_ends_ends_the_socket_whatever_it_has_joined_and_left(site: Site) -> None:
    server = site.server
    ann = enter_by(site, server.request_token("ann", "lobby", session="one"))
    ann.join(server.request_token("ann", "attic", session="one"))
    ann.leave("lobby")

    site.chat.close_session("one")

    assert ann.closing() == LOGGED_OUT
    wait_until(lambda: users(site) == {name: [] for name in CHANNELS})


@pytest.mark.parametrize("end", [Chatter.hang_up, Chatter.reset])
def test_whoever_hangs_up_leaves_all_channels(site: Site, end: Callable[[Chatter], None]) -> None:
    ann = site.enter("lobby", "ann")
    join(site, ann, "attic", "garden")

    end(ann)

    wait_until(lambda: users(site) == {name: [] for name in CHANNELS})
    assert (len(site.chat.gate), len(site.chat.gate.census)) == (0, 0)


def test_everybody_is_seen_off_once_however_many_channels_they_are_in(site: Site) -> None:
    ann = site.enter("lobby", "ann")
    join(site, ann, "attic")
    draining = gevent.spawn(site.chat.drain)

    assert ann.closing().code == 1012
    ann.hang_up()
    draining.get(timeout=5)


def test_connections_of_a_user_are_sockets_not_channels(make_site: MakeSite) -> None:
    site = make_site(CONNECTIONS_PER_USER=2)
    first, second = site.enter("lobby", "ann"), site.enter("lobby", "ann")

    join(site, first, "attic", "garden")
    join(site, second, "attic")

    assert len(site.chat.gate.census) == 2


class Slow:
    """A hook that holds its channel up at the text `hold`."""

    def __init__(self) -> None:
        self.holds = Flag()
        self.go_on = Flag()

    def encode(self, channel: object, date: object, msg: str, sender: str, to: str) -> str:
        if msg == "hold":
            self.holds.set()
            self.go_on.wait(5)
        return msg


def test_one_channel_that_has_enough_makes_the_socket_wait_and_the_others_cannot_wake_it(make_site: MakeSite) -> None:
    hook = Slow()
    site = make_site(controller=hook, MESSAGE_RATE=0)
    ann, bob = site.enter("lobby", "ann"), site.enter("lobby", "bob")
    join(site, ann, "attic")
    ann.publish("hold", channel="attic")
    assert hook.holds.wait(5)
    peer = peer_of(site, ann)

    last = [ann.publish(f"{number}", channel="attic") for number in range(40)][-1]
    wait_until(lambda: peer.socket.paused)
    bob.publish("anybody?")
    assert ann.hear("message")["text"] == "anybody?"
    assert peer.socket.paused

    hook.go_on.set()
    while ann.hear("ack")["id"] != last:
        pass
