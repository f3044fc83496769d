"""Two gunicorn masters, as on two hosts, over one Valkey and one database: one chat."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from tests.live.people import Person, Place
from tests.live.servers import Server, gunicorn, until, worker_of
from tests.valkey import RedisServer

LEASE = 1.0  # seconds


class Hosts(NamedTuple):
    """Both servers, and what a user of each sees."""

    servers: tuple[Server, Server]
    places: tuple[Place, Place]


@pytest.fixture
def redis(own_valkey) -> RedisServer:
    return own_valkey(appendonly=True)


@pytest.fixture
def hosts(redis, tmp_path) -> Iterator[Hosts]:
    settings = {
        "CHAT_REDIS_URL": redis.url,
        "CHAT_REDIS_LEASE": str(LEASE),
        "CHAT_DATABASE_URL": f"sqlite:///{tmp_path}/chat.sqlite",
        "CHAT_SECRET_KEY": "not a secret",
    }
    with ExitStack() as stack:
        found = [stack.enter_context(gunicorn(tmp_path / name, **settings)) for name in ("one", "two")]
        yield Hosts(*(tuple(part) for part in zip(*((server, Place(where)) for server, where in found), strict=True)))


def in_both(hosts: Hosts, name: str) -> tuple[Person, Person]:
    """One user, whose browser is sent now here and now there: cookies go to a host, whatever its port."""
    here, there = (Person(place, name) for place in hosts.places)
    here.register()
    for cookie, value in here.cookies.items():
        there.keep(cookie, value)
    return here, there


def users(person: Person, channel: str = "lobby") -> int:
    found = {one["name"]: one["count"] for one in person.request("GET", "/chat/channels").json["channels"]}
    return found[channel]


def test_users_of_two_hosts_talk_in_one_channel(hosts: Hosts):
    ann, _ = in_both(hosts, "ann")
    _, bob = in_both(hosts, "bob")
    assert ann.create("lobby").status == 201
    here, there = ann.enter("lobby"), bob.enter("lobby")
    here.say("hello")
    there.say("hello yourself")

    told = [[chatter.hear("message") for _ in range(2)] for chatter in (here, there)]

    assert told[0] == told[1]
    assert [message["offset"] for message in told[0]] == [1, 2]
    assert users(ann) == users(bob) == 2


def test_a_login_that_ends_here_ends_its_sockets_there(hosts: Hosts):
    here, there = in_both(hosts, "ann")
    assert here.create("lobby").status == 201
    socket = there.enter("lobby")

    here.log_out()

    assert socket.closing()[0] == 4501


def test_who_was_on_a_host_that_died_has_left_and_comes_back_to_the_other(hosts: Hosts):
    ann, _ = in_both(hosts, "ann")
    here, there = in_both(hosts, "bob")
    assert ann.create("lobby").status == 201
    watching = ann.enter("lobby")
    lost = there.enter("lobby")
    welcome = lost.welcome
    worker = worker_of(hosts.servers[1])
    os.kill(hosts.servers[1].pid, signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    watching.say("while you were away")

    assert watching.hear("left")["user"]["user"] == "bob"
    back = here.enter("lobby", query=f"?epoch={welcome['epoch']}&offset={welcome['offset']}")
    assert back.welcome["recovered"]
    assert back.hear("message")["text"] == "while you were away"


def test_a_host_that_slept_closes_its_sockets_before_it_tells_them_anything(hosts: Hosts):
    ann, _ = in_both(hosts, "ann")
    _, bob = in_both(hosts, "bob")
    assert ann.create("lobby").status == 201
    watching, sleeping = ann.enter("lobby"), bob.enter("lobby")
    assert [watching.hear("joined")["user"]["user"] for _ in range(2)] == ["ann", "bob"]
    worker = worker_of(hosts.servers[1])
    os.kill(worker, signal.SIGSTOP)
    try:
        assert watching.hear("left")["user"]["user"] == "bob"
        watching.say("good night")
        watching.hear("ack")
    finally:
        os.kill(worker, signal.SIGCONT)

    frames = sleeping.hear_the_rest()

    assert [frame for frame in frames if frame["type"] == "message"] == []
    assert sleeping.socket.close_code == 4000
    back = bob.enter("lobby")
    assert back.welcome["count"] == 2


def test_while_the_valkey_is_away_sockets_stay_open_and_what_is_said_may_be_said_again(hosts: Hosts, redis: RedisServer):
    ann, _ = in_both(hosts, "ann")
    _, bob = in_both(hosts, "bob")
    assert ann.create("lobby").status == 201
    here, there = ann.enter("lobby"), bob.enter("lobby")
    here.say("before")
    assert there.hear("message")["text"] == "before"
    redis.kill()
    until(lambda: ann.request("GET", "/readyz").status == 503, "not ready")
    id = here.say("meanwhile")
    refused = here.hear("error")
    redis.start()
    until(lambda: all(place.request("GET", "/readyz").status == 200 for place in hosts.places), "ready")

    here.send(type="publish", channel="lobby", id=id, text="meanwhile")

    assert (refused["id"], refused["code"], refused["retry"]) == (id, "broker_unavailable", True)
    assert here.hear("ack")["offset"] == there.hear("message")["offset"] == 2
    assert (here.socket.close_code, there.socket.close_code) == (None, None)
    assert users(ann) == 2


def test_when_the_valkey_has_lost_everything_all_are_told_on_open_sockets(hosts: Hosts, redis: RedisServer):
    ann, _ = in_both(hosts, "ann")
    _, bob = in_both(hosts, "bob")
    assert ann.create("lobby").status == 201
    here, there = ann.enter("lobby"), bob.enter("lobby")
    here.say("before")
    assert there.hear("message")["text"] == "before"
    redis.client().flushall()
    here.say("after")

    again = [chatter.hear("welcome") for chatter in (here, there)]

    assert {welcome["recovered"] for welcome in again} == {False}
    assert len({welcome["epoch"] for welcome in [*again, here.welcome]}) == 2
    assert there.hear("message")["text"] == "after"
    past = ann.request("GET", "/chat/channels/lobby/messages").json["events"]
    assert [message["text"] for message in past] == ["before", "after"]
    until(lambda: users(bob) == 2, "both listed again")
