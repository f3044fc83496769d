"""How a server ends: whoever asks is told first, everybody is seen off, and nothing can hold it up."""

import random
import re
import signal
import socket
import sqlite3
import time
from collections import Counter
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

import gevent
import pytest
from gevent.event import Event
from websockets.exceptions import ConnectionClosed

from tests.chat.steps import wait_until
from tests.live.crowd import Client, Crowd, crowded
from tests.live.people import Chatter, Person, Place
from tests.live.servers import gunicorn, until
from tests.soak.desk import Desk
from tests.soak.guest import Guest
from tests.soak.journal import Journal
from tests.soak.meter import only_child

RETRY = re.compile(r"retry=(\d+\.\d{3})")
DEADLINE = 5.0  # seconds for all of it
RATE = 100  # messages a second, under load


def delays(endings: list[tuple[int, str]]) -> list[float]:
    """The seconds after which each is to come back."""
    found = [RETRY.fullmatch(reason) for _, reason in endings]
    return [float(match.group(1)) for match in found if match]


def test_five_thousand_sockets_are_told_to_come_back_when_it_ends(tmp_path: Path) -> None:
    with crowded(tmp_path, 5000) as (server, _, crowd):
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        endings = crowd.endings()
        status = server.wait()
        took = time.monotonic() - began

    assert status == 0
    assert took < DEADLINE
    assert Counter(code for code, _ in endings) == {1012: 5000}
    assert len(set(delays(endings))) > 1000  # so that not all come back in the same instant
    assert 0 < min(delays(endings)) < max(delays(endings)) < 6
    assert "Traceback" not in server.log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=lambda number: number.name)
def test_whatever_ends_it_everybody_is_seen_off(tmp_path: Path, number: signal.Signals) -> None:
    with crowded(tmp_path, 20) as (server, _, crowd):
        server.signal(number)
        endings = crowd.endings()

        assert server.wait() == 0
    assert [code for code, _ in endings] == [1012] * 20
    assert len(delays(endings)) == 20
    assert "Traceback" not in server.log


def test_what_was_said_before_the_end_is_still_acked(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "instance", CHAT_MESSAGE_RATE="0") as (server, where):
        place = Place(where)
        ann = Person(place, "ann").register()
        ann.create("lobby")
        protocols = ["chat.v1", f"chat.token.{ann.token('lobby')}"]
        connection = place.websocket("/chat/ws", subprotocols=protocols, origin=place.origin, max_queue=None)
        chatter = Chatter(connection, "lobby")
        ids = [chatter.say(f"number {number}") for number in range(200)]
        first = chatter.hear("message", "ack")  # by now the server has read much of the rest
        server.signal(signal.SIGTERM)
        with suppress(ConnectionClosed):
            while True:
                ids.append(chatter.say("and on until it ends"))
        frames = [first, *chatter.hear_the_rest()]

    heard = [frame["id"] for frame in frames if frame["type"] == "message"]
    acked = [frame["id"] for frame in frames if frame["type"] == "ack"]
    assert len(acked) > 20
    assert heard == acked == ids[: len(acked)]


def readiness(connection: HTTPConnection) -> int:
    connection.request("GET", "/readyz")
    answer = connection.getresponse()
    answer.read()
    return answer.status


def test_load_balancers_have_time_to_notice_before_anything_else_happens(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "instance", CHAT_DRAIN_DELAY="30") as (server, where):
        place = Place(where)
        ann, bob = (Person(place, name).register() for name in ("ann", "bob"))
        ann.create("lobby")
        chatter = ann.enter("lobby")
        kept = place.http()
        assert readiness(kept) == 200

        server.signal(signal.SIGTERM)
        until(lambda: readiness(kept) == 503, "503 on an open connection")

        assert place.request("GET", "/readyz").status == 503
        assert place.request("GET", "/healthz").status == 200
        chatter.say("as ever")
        assert chatter.hear("message")["text"] == "as ever"
        late = bob.enter("lobby")
        late.say("me too")
        assert chatter.hear("message")["text"] == "me too"
        began = time.monotonic()
        server.signal(signal.SIGINT)  # which has no patience
        assert [each.closing()[0] for each in (chatter, late)] == [1012, 1012]
        assert server.wait() == 0
        assert time.monotonic() - began < 2
        kept.close()
        assert "graceful_timeout is 30: gunicorn would kill this worker" in server.log
        assert "Traceback" not in server.log


def a_crowd(place: Place, names: list[str]) -> Crowd:
    """Sockets of these users, in the lobby."""
    headers = {"Content-Type": "application/json"}
    place.request("POST", "/chat/channels", b'{"name": "lobby"}', {**headers, "X-User": names[0]})
    answers = [place.request("POST", "/chat/token", b'{"channel": "lobby"}', {**headers, "X-User": name}) for name in names]
    crowd = Crowd(place.where.replace("http", "ws") + "/chat/ws", [answer.json["token"] for answer in answers])
    crowd.connect()
    return crowd


def hold_up(client: Client) -> None:
    """Have it never read again."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)


def test_peers_hooks_and_a_database_that_hang_do_not_hold_it_up(tmp_path: Path) -> None:
    instance = tmp_path / "instance"
    with gunicorn(instance, app="tests.live.hanging_app:app", CHAT_WRITE_BUF=str(2**26)) as (server, where):
        place = Place(where)
        rude, deaf = a_crowd(place, ["rude"]), a_crowd(place, ["deaf"])
        hold_up(deaf.clients[0])
        assert place.request("POST", "/flood").text == "said"
        kept = place.http()
        assert readiness(kept) == 200
        other = sqlite3.connect(instance / "chat.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")  # what the server would write waits for this one

        began = time.monotonic()
        server.signal(signal.SIGTERM)
        assert rude.endings(polite=False)[0][0] == 1012
        assert readiness(kept) == 503
        assert server.wait() == 0
        took = time.monotonic() - began

        other.close()
        kept.close()
        for crowd in (rude, deaf):
            crowd.close()
    assert 2 < took < DEADLINE  # it did wait for them
    assert "Traceback" not in server.log
    assert "SIGKILL" not in server.log


def test_a_second_signal_cuts_it_short(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "instance", app="tests.live.hanging_app:app") as (server, where):
        rude = a_crowd(Place(where), ["rude", "too"])

        server.signal(signal.SIGTERM)
        assert [code for code, _ in rude.endings(polite=False)] == [1012, 1012]
        began = time.monotonic()
        server.signal(signal.SIGQUIT)

        assert server.wait() == 0
        assert time.monotonic() - began < 2
        rude.close()
    assert "Traceback" not in server.log
    assert "SIGKILL" not in server.log


def test_a_restart_under_load_loses_nothing_that_was_acked_and_repeats_nothing(tmp_path: Path) -> None:
    journal = Journal(limit=1000)
    rooms = [f"room{number}" for number in range(4)]
    settings = {"CHAT_DRAIN_DELAY": "0.3", "CHAT_MESSAGE_RATE": "0"}
    with gunicorn(tmp_path / "instance", app="tests.soak.site:app", **settings) as (server, where):
        old = only_child(server.pid)
        host, _, port = where.removeprefix("http://").partition(":")
        desk = Desk((host, int(port)))
        for room in rooms:
            desk.ask("POST", "/chat/channels", "admin", {"name": room})
        guests = [Guest(desk, journal, f"g{number}", rooms[number % 4], random.Random(number)) for number in range(50)]
        wait_until(lambda: all(guest.is_here for guest in guests), 20)
        over = Event()
        talk = gevent.spawn(_talk, guests, over)
        wait_until(lambda: journal.acks > 50, 20)

        server.signal(signal.SIGHUP)
        wait_until(lambda: all(guest.last_closing is not None and guest.is_here for guest in guests), 20)
        acked = journal.acks
        wait_until(lambda: journal.acks > acked + 50, 20)

        over.set()
        assert talk.get(timeout=5) == pytest.approx(RATE, rel=0.1)
        wait_until(lambda: not any(guest.waits_for_acks for guest in guests), 20)
        wait_until(lambda: all(guest.stay.is_up_to_date for guest in guests), 20)
        journal.settle([guest.stay for guest in guests])
        assert only_child(server.pid) != old
        for guest in guests:
            guest.leave()
        desk.close()
        assert "Traceback" not in server.log

    assert journal.faults.first == []
    assert journal.recoveries == 50
    assert {guest.last_closing[0] for guest in guests} == {1012}


def _talk(guests: list[Guest], over: Event) -> float:
    """Let those who are there say things, ten at a time and what is in arrears; return how many it were a second."""
    dice = random.Random(1)
    said, began = 0, time.monotonic()
    now = began
    while not over.wait(max(began + (said + 10) / RATE - time.monotonic(), 0.01)):
        now = time.monotonic()
        here = [guest for guest in guests if guest.is_here]
        due = round((now - began) * RATE) - said
        for guest in dice.choices(here, k=due) if here else []:
            guest.say()
            said += 1
    return said / (now - began)
