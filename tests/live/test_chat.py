"""People chat over the real thing, however it is reached, and bad ways in are refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from websockets.exceptions import InvalidStatus

from tests.live.certificates import certificate
from tests.live.conftest import Site
from tests.live.people import PASSWORD, Chatter, Listener, Person, Place
from tests.live.servers import gunicorn, until


class EmbeddedPerson(Person):
    """A user of the example's own, who need not register.  Only ada may create channels there."""

    PASSWORDS: ClassVar = {"ada": "lovelace", "bob": "babbage"}

    def register(self) -> "EmbeddedPerson":
        answer = self.submit("/login", page="/", name=self.name, password=self.PASSWORDS[self.name])
        assert answer.status == 303, answer.text
        return self


def over_tcp(folder: Path) -> Iterator[Place]:
    with gunicorn(folder / "instance") as (_, where):
        yield Place(where)


def over_a_unix_socket(folder: Path) -> Iterator[Place]:
    with gunicorn(folder / "instance", "-b", f"unix:{folder}/chat.sock") as (_, where):
        yield Place(where)


def over_tls(folder: Path) -> Iterator[Place]:
    files, trusting = certificate(folder)
    with gunicorn(folder / "instance", *files) as (_, where):
        yield Place(where, tls=trusting)


def embedded(folder: Path) -> Iterator[Place]:
    args = ("-k", "web.websocket.worker.ChatWorker", "--chdir", "examples")
    with gunicorn(folder / "instance", *args, app="embedded_app:app") as (_, where):
        yield Place(where, prefix="/talk")


WAYS = (over_tcp, over_a_unix_socket, over_tls, embedded)


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: way.__name__)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Person, Person]]:
    """Ada and bob, on one site for all tests; each test takes a channel of its own."""
    for place in request.param(tmp_path_factory.mktemp("site")):
        user = EmbeddedPerson if place.prefix == "/talk" else Person
        yield user(place, "ada").register(), user(place, "bob").register()


@pytest.fixture
def ada(both: tuple[Person, Person]) -> Person:
    return both[0]


@pytest.fixture
def place(ada: Person) -> Place:
    return ada.place


def newcomer(place: Place, name: str) -> Person:
    return Person(place, name).register()


def refusal(place: Place, **kwargs: object) -> tuple[int, str]:
    """Status and code of a refused handshake."""
    with pytest.raises(InvalidStatus) as caught:
        place.websocket(f"{place.prefix}/ws", **kwargs)
    response = caught.value.response
    assert response.headers["Content-Type"] == "application/json"
    return response.status_code, _code(response.body)


def _code(body: bytes) -> str:
    code: str = json.loads(body)["error"]["code"]
    return code


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_two_users_chat_over_plain_text_and_chat_v1(both: tuple[Person, Person], place: Place) -> None:
    ada, bob = both
    assert ada.create("lobby").status == 201

    plain = ada.enter_plain("lobby")
    assert plain.hear() == "ada entered lobby!"
    v1 = bob.enter("lobby")
    assert [user["user"] for user in v1.welcome["users"]] == ["ada", "bob"]
    assert v1.hear("joined")["user"] == {"user": "bob"}
    assert plain.hear() == "bob entered lobby!"

    _exchange(plain, v1)
    _whisper(plain, v1)

    assert {"name": "lobby", "count": 2, "unread": 0, "mentions": 0} in ada.request("GET", f"{place.prefix}/channels").json[
        "channels"
    ]
    plain.close()
    assert v1.hear("left")["user"] == {"user": "ada"}
    v1.close()


def _exchange(plain: Listener, v1: Chatter) -> None:
    plain.say("hello from a line")
    assert plain.hear() == "ada: hello from a line"
    first = v1.hear("message")
    assert (first["from"], first["text"], first["offset"]) == ("ada", "hello from a line", v1.welcome["offset"] + 1)

    ids = [v1.say(f"number {number}") for number in range(5)]
    assert [plain.hear() for _ in ids] == [f"bob: number {number}" for number in range(5)]
    heard = [v1.hear("message", "ack") for _ in range(10)]
    messages = [frame for frame in heard if frame["type"] == "message"]
    acks = {frame["id"]: frame["offset"] for frame in heard if frame["type"] == "ack"}
    assert [message["offset"] for message in messages] == [first["offset"] + number for number in range(1, 6)]
    assert acks == {message["id"]: message["offset"] for message in messages}
    assert list(acks) == ids


def _whisper(plain: Listener, v1: Chatter) -> None:
    id = v1.say("psst", to="ada")
    assert plain.hear() == "bob: psst"
    whisper = v1.hear("whisper")
    assert (whisper["from"], whisper["to"], whisper["text"], whisper["id"]) == ("bob", "ada", "psst", id)
    assert v1.hear("ack") == {"type": "ack", "channel": "lobby", "id": id, "offset": None}
    lost = v1.say("anyone?", to="nobody")
    error = v1.hear("error")
    assert (error["id"], error["code"], error["retry"]) == (lost, "not_here", False)


def test_bad_tokens_are_refused_before_any_upgrade(ada: Person, place: Place) -> None:
    ada.create("garden")
    used = ada.token("garden")
    place.websocket(f"{place.prefix}/ws", additional_headers=bearer(used)).close()

    assert refusal(place, additional_headers=bearer(used)) == (401, "invalid_token")
    assert refusal(place, additional_headers=bearer("0" * 64)) == (401, "invalid_token")
    assert refusal(place) == (401, "invalid_token")


def test_a_foreign_origin_is_refused_and_spends_no_token(ada: Person, place: Place) -> None:
    ada.create("kitchen")
    token = ada.token("kitchen")

    foreign = refusal(place, additional_headers=bearer(token), origin="https://evil.example")

    assert foreign == (403, "foreign_origin")
    place.websocket(f"{place.prefix}/ws", additional_headers=bearer(token), origin=place.origin).close()


def test_an_expired_token_is_refused(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "instance", CHAT_TOKEN_DEADLINE="0.000001") as (_, where):
        place = Place(where)
        ann = newcomer(place, "ann")
        ann.create("lobby")

        assert refusal(place, additional_headers=bearer(ann.token("lobby"))) == (401, "expired_token")


def test_a_second_connection_of_a_user_is_refused_where_the_policy_says_so(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "instance", CHAT_DUPLICATE_USER="reject") as (_, where):
        place = Place(where)
        ann = newcomer(place, "ann")
        ann.create("lobby")
        first = ann.enter("lobby")

        second = refusal(place, additional_headers=bearer(ann.token("lobby")))
        first.close()

        assert second == (409, "user_already_connected")
        assert until(lambda: _enter_again(ann), "the name to be free")


def _enter_again(person: Person) -> bool:
    try:
        person.enter("lobby").close()
    except InvalidStatus:
        return False
    return True


def test_over_tls_some_are_compressed_and_some_are_not(tmp_path: Path) -> None:
    files, trusting = certificate(tmp_path)
    with gunicorn(tmp_path / "instance", *files, CHAT_COMPRESSION="1", CHAT_FAST_HANDSHAKE="1") as (_, where):
        ann = newcomer(Place(where, tls=trusting), "ann")
        ann.create("lobby")
        chatters = [ann.enter("lobby", compression=offer) for offer in ("deflate", None, "deflate")]
        assert [chatter.socket.compresses for chatter in chatters] == [True, False, True]
        said = ["short", "long, long, long " * 200, "short again"]

        for text in said:
            chatters[0].say(text)

        for chatter in chatters:
            assert [chatter.hear("message")["text"] for _ in said] == said
            chatter.close()


# The usual format, and all that could be asked for beside it.
EVERYTHING = (
    '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s" '
    "%(q)s %({authorization}i)s %({cookie}i)s %({raw_uri}e)s %({upgrade}o)s"
)


def test_tokens_stand_in_no_log(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "instance", "--access-logformat", EVERYTHING) as (server, where):
        place = Place(where)
        ann = newcomer(place, "ann")
        ann.create("lobby")
        token = ann.token("lobby")
        place.websocket(f"/chat/ws?token={token}").close()
        refused = refusal(place, additional_headers=bearer(token))

        server.wait_for(r"GET /chat/ws HTTP/1.1\" 401")

        assert refused == (401, "invalid_token")
        assert '/chat/ws?token=[redacted] HTTP/1.1" 101' in server.log
        assert "/chat/ws?token=[redacted] websocket" in server.log, "what the format names is there"
        assert token not in server.log
        assert PASSWORD not in server.log


def test_logging_out_ends_the_sockets_of_that_login(site: Site) -> None:
    ann = site.person("ann")
    ann.create("lobby")
    here, elsewhere = ann.enter("lobby"), Person(site.place, "ann").log_in().enter("lobby")

    ann.log_out()

    assert here.closing()[0] == 4501
    elsewhere.say("still here")
    assert elsewhere.hear("message")["text"] == "still here"


def test_frames_are_sent_at_once_because_the_listener_would_have_it_so(site: Site) -> None:
    assert site.place.request("GET", "/prompt").text == "True"
