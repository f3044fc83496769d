"""Asking over one connection: whose answer is whose, and which questions are refused."""

import gevent
import pytest
from redis.exceptions import ResponseError

from chat.bus import Script
from chat.bus.link import MOST
from chat.errors import BrokerUnavailable
from tests.chat.bus.asking import SLOW_TO_LOAD, ask, fill, refused, run, works
from tests.chat.steps import never_yields, wait_until

DOUBLED = Script("return 2 * ARGV[1]")


def test_the_answers_of_ten_thousand_questions_at_once_are_in_order(valkey, make_link):
    link = make_link(valkey.url)

    answers = [ask(link, "ECHO", number) for number in range(MOST)]

    assert [int(answer.get(timeout=5)) for answer in answers] == list(range(MOST))
    assert len(link) == 0


def test_more_than_ten_thousand_do_not_wait(valkey, make_link):
    link = make_link(valkey.url)
    answers = [ask(link, "ECHO", number) for number in range(MOST)]

    one_more = ask(link, "ECHO", "one more")

    assert one_more.ready()
    assert refused(one_more)
    assert [int(answer.get(timeout=5)) for answer in answers] == list(range(MOST))
    assert works(link)


def test_to_ask_never_yields(valkey, make_link):
    link = make_link(valkey.url)

    with never_yields():
        answer = ask(link, "ECHO", "here")

    assert answer.get(timeout=5) == b"here"


def test_what_cannot_be_said_is_not_asked_and_shifts_no_answer(valkey, make_link):
    link = make_link(valkey.url)
    before = ask(link, "ECHO", "before")

    with pytest.raises(UnicodeEncodeError):
        ask(link, "ECHO", "\ud800")
    with pytest.raises(TypeError):
        ask(link, "ECHO", None)

    after = ask(link, "ECHO", "after")
    assert [before.get(timeout=5), after.get(timeout=5)] == [b"before", b"after"]


def test_an_error_is_told_to_who_asked_and_to_nobody_else(valkey, make_link):
    link = make_link(valkey.url)

    answers = [ask(link, *words) for words in (("ECHO", "one"), ("ECHO",), ("NONSENSE",), ("ECHO", "two"))]

    assert answers[0].get(timeout=5) == b"one"
    for answer in answers[1:3]:
        with pytest.raises(ResponseError):
            answer.get(timeout=5)
    assert answers[3].get(timeout=5) == b"two"


def test_a_script_that_the_server_has_forgotten_is_told_again(valkey, make_link):
    link = make_link(valkey.url)
    assert run(link, DOUBLED, 1).get(timeout=5) == 2
    valkey.ask("SCRIPT", "FLUSH")

    answers = [run(link, DOUBLED, number) for number in range(100)]

    assert [answer.get(timeout=5) for answer in answers] == [2 * number for number in range(100)]


def test_a_huge_answer_is_that_of_its_question(valkey, make_link):
    link = make_link(valkey.url)

    huge = run(link, Script("return string.rep('x', 33554432)"))
    small = ask(link, "ECHO", "small")

    assert huge.get(timeout=5) == b"x" * 2**25
    assert small.get(timeout=5) == b"small"


@pytest.mark.logs_errors
def test_who_asks_while_it_is_away_is_refused_at_once(valkey, make_link):
    link = make_link(valkey.url)
    valkey.kill()
    wait_until(lambda: not link.is_up)

    answer = ask(link, "ECHO", "here")

    assert answer.ready()
    assert refused(answer)


@pytest.mark.logs_errors
def test_who_waits_when_it_crashes_is_refused(valkey, make_link):
    link = make_link(valkey.url)
    valkey.pause()
    answers = [ask(link, "ECHO", number) for number in range(10)]
    gevent.idle()

    valkey.kill()

    assert all(refused(answer) for answer in answers)


@pytest.mark.logs_errors
def test_an_error_that_cannot_be_read_is_not_the_end(valkey, make_link):
    link = make_link(valkey.url)

    answer = run(link, Script("return redis.error_reply('MOVED where to?')"))

    assert refused(answer)
    wait_until(lambda: works(link), timeout=5)


def test_who_waits_when_it_is_closed_is_refused(valkey, make_link):
    link = make_link(valkey.url)
    answer = ask(link, "ECHO", "here")

    link.close()
    link.close()

    assert refused(answer)
    assert ask(link, "ECHO", "here").ready()
    assert link.wait_tried() is not None


@pytest.mark.logs_errors
@pytest.mark.parametrize("program", ["valkey", "redis"])
def test_a_server_without_memory_refuses_what_is_to_be_kept_and_the_rest_goes_on(program, own_valkey, make_link, caplog):
    server = own_valkey(program=program)
    link = make_link(server.url)
    server.ask("CONFIG", "SET", "maxmemory", "1")

    answers = [ask(link, "SET", "key", "value") for _ in range(100)]
    answers.append(run(link, Script("return redis.call('SET', 'key', ARGV[1])"), "value"))

    assert all(refused(answer) for answer in answers)
    assert works(link)
    assert caplog.text.count("cannot do what it is asked: OOM") == 1
    server.ask("CONFIG", "SET", "maxmemory", "0")
    assert ask(link, "SET", "key", "value").get(timeout=5) == b"OK"


@pytest.mark.logs_errors
def test_what_was_the_master_is_left(own_valkey, make_link):
    server, master = own_valkey(), own_valkey()
    link = make_link(server.url)
    me = ask(link, "CLIENT", "ID").get(timeout=5)
    server.ask("REPLICAOF", "127.0.0.1", master.port)

    assert refused(ask(link, "SET", "key", "value"))

    wait_until(lambda: works(link), timeout=5)
    assert ask(link, "CLIENT", "ID").get(timeout=5) != me


@pytest.mark.logs_errors
def test_errors_that_will_be_over_are_no_answers(own_valkey, make_link, caplog):
    server = own_valkey(config={"busy-reply-threshold": 20, "min-replicas-max-lag": 10})
    link, other = make_link(server.url), make_link(server.url)
    server.ask("CONFIG", "SET", "min-replicas-to-write", 1)
    assert refused(ask(link, "SET", "key", "value"))

    endless = run(other, Script("while true do end"))
    wait_until(lambda: not works(link))
    assert ask(link, "SCRIPT", "KILL").get(timeout=5) == b"OK"

    with pytest.raises(ResponseError):
        endless.get(timeout=5)
    assert works(link)
    assert "NOREPLICAS" in caplog.text
    assert "BUSY" in caplog.text


@pytest.mark.logs_errors
def test_a_full_disk_is_no_answer(own_valkey, make_link, caplog):
    server = own_valkey(config={"save": "3600 1", "dbfilename": "rdb"})
    (server.folder / "rdb").mkdir()  # where the file is to be
    link = make_link(server.url)
    server.ask("BGSAVE")
    wait_until(lambda: server.ask("INFO", "persistence")["rdb_last_bgsave_status"] == "err", timeout=5)

    assert refused(ask(link, "SET", "key", "value"))
    assert "MISCONF" in caplog.text


@pytest.mark.logs_errors
def test_what_is_asked_while_it_loads_is_refused_and_shifts_no_answer(own_valkey, make_link, caplog):
    master, server = own_valkey(config={"repl-diskless-sync-delay": 0}), own_valkey(config=SLOW_TO_LOAD)
    fill(master)
    link = make_link(server.url)
    me = ask(link, "CLIENT", "ID").get(timeout=5)
    ask(link, "REPLICAOF", "127.0.0.1", master.port).get(timeout=5)

    def loads():
        answer, behind = ask(link, "GET", "key1"), ask(link, "ECHO", "here")  # which is answered all the while
        assert behind.get(timeout=5) == b"here"
        return isinstance(answer.exception, BrokerUnavailable)

    wait_until(loads, timeout=5)
    wait_until(lambda: not loads(), timeout=5)

    assert "LOADING" in caplog.text
    assert ask(link, "CLIENT", "ID").get(timeout=5) == me
