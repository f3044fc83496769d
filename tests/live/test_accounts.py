"""Logins on the real thing: how long they last, and what ends with them."""

from pathlib import Path

from tests.live.certificates import certificate
from tests.live.people import PASSWORD, Person, Place
from tests.live.servers import gunicorn


def remembered(place: Place, name: str) -> Person:
    person = Person(place, name)
    assert person.submit("/register", username=name, password=PASSWORD, remember="y").status == 303
    return person


def test_a_login_that_expires_in_the_middle_of_a_chat_ends_it(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "instance", CHAT_SESSION_LIFETIME="2") as (_, where):
        place = Place(where)
        ann, bob = Person(place, "ann").register(), remembered(place, "bob")
        ann.create("lobby")
        chat, other = ann.enter("lobby"), bob.enter("lobby")

        assert chat.closing()[0] == 4501
        other.say("still here")
        assert other.hear("message")["text"] == "still here"
        assert ann.request("GET", "/chat/channels").status == 401


def test_behind_tls_cookies_are_bound_to_the_host_and_a_remembered_login_outlives_server_and_browser(
    tmp_path: Path,
) -> None:
    files, trusting = certificate(tmp_path)
    with gunicorn(tmp_path / "instance", *files) as (_, where):
        ann = remembered(Place(where, tls=trusting), "ann")
        assert ann.cookies.keys() == {"__Host-session", "__Host-remember"}
    with gunicorn(tmp_path / "instance", *files) as (_, where):
        again = Person(Place(where, tls=trusting), "ann")
        again.keep("__Host-remember", ann.cookies["__Host-remember"])

        assert again.request("GET", "/chat/channels").status == 200
        assert again.cookies["__Host-session"] != ann.cookies["__Host-session"]


def test_log_out_everywhere_ends_the_sockets_of_all_logins(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "instance") as (_, where):
        place = Place(where)
        ann, bob = Person(place, "ann").register(), Person(place, "bob").register()
        ann.create("lobby")
        sockets = [ann.enter("lobby"), Person(place, "ann").log_in().enter("lobby")]
        other = bob.enter("lobby")

        assert ann.submit("/account", do="end_all").status == 303

        assert [socket.closing()[0] for socket in sockets] == [4501, 4501]
        other.say("still here")
        assert other.hear("message")["text"] == "still here"
        assert ann.request("GET", "/account").status == 303
