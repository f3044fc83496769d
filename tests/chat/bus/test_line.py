"""A connection that is kept up: when it is given up, how it comes back, and how it ends."""

import threading

import gevent
import pytest
from redis.exceptions import AuthenticationError, BusyLoadingError

from chat.bus.link import Link
from tests.chat.bus.asking import SLOW_TO_LOAD, ask, fill, refused, works
from tests.chat.bus.conftest import LOG, way_to
from tests.chat.bus.peers import answer_once, full_door, hang_up, say_unasked
from tests.chat.steps import never_yields, wait_until

SOON = 0.3  # seconds, as a deadline


@pytest.mark.logs_errors
def test_to_hang_up_never_yields_and_is_made_good(valkey, make_link):
    link = make_link(valkey.unix_url)
    before = valkey.ask("INFO", "stats")["total_connections_received"]
    answer = ask(link, "ECHO", "here")

    with never_yields():
        link.hang_up()

    assert refused(answer)
    wait_until(lambda: works(link), timeout=5)
    after = valkey.ask("INFO", "stats")["total_connections_received"]
    assert after - before == 2  # of which one is this question: what was to be written yet has made no connection


@pytest.mark.logs_errors
def test_it_comes_back_by_itself_and_says_so_once(valkey, make_link, caplog):
    link = make_link(valkey.url)
    valkey.kill()
    wait_until(lambda: not link.is_up)

    valkey.start()

    wait_until(lambda: works(link), timeout=5)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


@pytest.mark.logs_errors
def test_who_is_not_answered_in_time_is_refused_with_all_behind(valkey, make_link, caplog):
    link = make_link(valkey.url, deadline=SOON)
    valkey.pause()

    answers = [ask(link, "ECHO", number) for number in range(10)]

    assert all(refused(answer) for answer in answers)
    assert not link.is_up
    assert "has not answered for" in caplog.text
    valkey.resume()
    wait_until(lambda: works(link), timeout=5)


@pytest.mark.logs_errors
def test_a_writer_that_the_server_does_not_read_ends_too(valkey, make_link):
    link = make_link(valkey.url, deadline=SOON)
    valkey.pause()

    answers = [ask(link, "ECHO", b"x" * 2**20) for _ in range(20)]  # more than the sockets' buffers take

    assert all(refused(answer) for answer in answers)
    valkey.resume()
    wait_until(lambda: works(link), timeout=5)


@pytest.mark.logs_errors
def test_a_line_that_is_dead_without_a_word_is_noticed_though_nobody_asks(relay, make_link):
    link = make_link(relay.url, deadline=SOON)
    relay.lets_through.clear()

    wait_until(lambda: not link.is_up, timeout=5)

    relay.lets_through.set()
    wait_until(lambda: works(link), timeout=5)


def test_a_line_on_which_nothing_is_said_stays(valkey, make_link):
    link = make_link(valkey.url, deadline=0.1)
    me = ask(link, "CLIENT", "ID").get(timeout=5)

    wait_until(lambda: valkey.ask("INFO", "commandstats")["cmdstat_ping"]["calls"] > 4, timeout=5)

    assert ask(link, "CLIENT", "ID").get(timeout=5) == me


def test_a_process_that_stood_still_takes_the_answers_that_came_meanwhile(valkey, make_link):
    link = make_link(valkey.url, deadline=0.1)
    valkey.pause()
    answer = ask(link, "ECHO", "here")
    gevent.idle()
    valkey.resume()

    valkey.ask("BLPOP", "nothing", "0.3")  # which holds up this process

    assert answer.get(timeout=5) == b"here"


@pytest.mark.logs_errors
@pytest.mark.parametrize("receive", [hang_up, answer_once])
def test_who_takes_connections_and_ends_them_is_not_asked_in_a_circle(receive, open_door, make_link, caplog):
    door = open_door(receive)
    make_link(door.url)

    wait_until(lambda: len(door.came_at) >= 5, timeout=10)

    pauses = [after - before for before, after in zip(door.came_at, door.came_at[1:], strict=False)]
    assert all(pause > shortest for pause, shortest in zip(pauses, (0.024, 0.049, 0.099, 0.199), strict=False))
    assert len(caplog.records) <= 2 * len(door.came_at)


@pytest.mark.logs_errors
@pytest.mark.parametrize("words", [b"-DENIED Redis is running in protected mode\r\n", b"+OK\r\n", b"HTTP/1.1 400\r\n\r\n"])
def test_who_says_what_nobody_asked_for_is_tried_again(words, open_door, make_link):
    door = open_door(say_unasked(words))

    make_link(door.url)

    wait_until(lambda: len(door.came_at) >= 3, timeout=5)


@pytest.mark.logs_errors
def test_a_full_door_is_given_up_in_time(make_link):
    with full_door() as url:
        link = make_link(url, deadline=SOON)

        assert "no answer within 0.3 s" in str(link.wait_tried())


def test_it_connects_while_all_threads_are_busy(valkey, make_link):
    pool, may_end = gevent.get_hub().threadpool, threading.Event()
    busy = [pool.spawn(may_end.wait, 10) for _ in range(pool.maxsize)]

    try:
        assert works(make_link(valkey.url, deadline=1))
    finally:
        may_end.set()
    gevent.joinall(busy, timeout=5)


def test_closing_while_it_connects_does_not_wait(closer):
    with full_door() as url, gevent.Timeout(1):
        link = closer.keep(Link("Redis", way_to(url), LOG))
        link.start()
        gevent.idle()
        link.close()

    assert link.wait_tried() is not None


@pytest.mark.logs_errors
@pytest.mark.parametrize("login", ["", ":wr0ng@"])
def test_without_the_right_password_it_is_away_and_says_why(login, own_valkey, make_link, caplog):
    server = own_valkey(password="r1ght")

    link = make_link(f"redis://{login}127.0.0.1:{server.port}")

    assert isinstance(link.wait_tried(), AuthenticationError)
    assert not link.is_up
    assert "wr0ng" not in caplog.text


@pytest.mark.logs_errors
def test_a_password_that_is_changed_and_changed_back_is_survived(own_valkey, make_link):
    server = own_valkey(password="old")
    link = make_link(server.url)
    server.run("CONFIG SET requirepass new")
    assert works(link)  # who is in stays in
    with server.client(password="new") as client:
        client.execute_command("CLIENT KILL TYPE normal")
        wait_until(lambda: isinstance(link.wait_tried(), AuthenticationError), timeout=5)

        client.execute_command("CONFIG SET requirepass old")

    wait_until(lambda: works(link), timeout=5)


@pytest.mark.logs_errors
def test_while_it_loads_it_is_away(own_valkey, make_link):
    server = own_valkey(config=SLOW_TO_LOAD | {"save": "3600 1000000"})
    link = make_link(server.url)
    fill(server)
    server.stop()

    starting = gevent.get_hub().threadpool.spawn(server.start)

    wait_until(lambda: isinstance(link.wait_tried(), BusyLoadingError), timeout=5)
    assert refused(ask(link, "ECHO", "here"))
    starting.get()
    wait_until(lambda: works(link), timeout=5)
