"""The servers of tests/valkey.py are what they say they are."""

import pytest
import redis
from redis.exceptions import AskError, MovedError

from tests.valkey import Cluster, OwnValkey, RedisServer, Sentinel

WORD = "not to be/shown@"
SLOT = 12182  # of the key "foo", at home in the last node


@pytest.mark.parametrize("name", ["valkey", "redis_server"])
def test_it_is_reached_over_tcp_and_over_a_unix_socket(name, request):
    server = request.getfixturevalue(name)

    with redis.from_url(server.url) as one, redis.from_url(server.unix_url) as other:
        one.set("key", "value")

        assert other.get("key") == b"value"


def test_each_program_is_the_one_that_it_is_called(valkey, redis_server):
    assert valkey.ask("INFO")["server_name"] == "valkey"
    assert "server_name" not in redis_server.ask("INFO")


@pytest.mark.parametrize("program", ["valkey", "redis"])
def test_with_a_password_others_are_refused(program, own_valkey: OwnValkey):
    server = own_valkey(program=program, password=WORD)

    with redis.from_url(server.url) as one, redis.from_url(server.unix_url) as other:
        assert one.set("key", "value")
        assert other.get("key") == b"value"
    with server.client(password=None) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.get("key")


def test_with_tls_who_does_not_trust_it_gets_no_answer(own_valkey: OwnValkey):
    server = own_valkey(program="redis", tls=True, password=WORD)

    with redis.from_url(server.url, ssl_ca_certs=str(server.authority)) as client:
        assert client.set("key", "value")
    with (
        server.client(ssl_ca_certs=None) as stranger,
        pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY"),
    ):
        stranger.ping()


def test_valkey_has_no_tls():
    with pytest.raises(AssertionError, match="without TLS"):
        RedisServer(tls=True)


def test_a_server_is_lent_without_what_the_last_test_left(valkey: RedisServer):
    with valkey.client(client_name="left") as left:
        left.set("key", "value")
        left.get("key")
        digest = left.script_load("return 1")
        with left.pubsub() as heard:
            heard.subscribe("channel")

            valkey.lend()

            assert valkey.ask("PUBSUB", "NUMSUB", "channel") == ["channel", 0]
    assert valkey.ask("DBSIZE") == 0
    assert valkey.ask("SCRIPT", "EXISTS", digest) == [0]
    assert "cmdstat_get" not in valkey.ask("INFO", "commandstats")
    assert "name=left" not in valkey.ask("CLIENT", "LIST")


def test_a_crash_costs_all(own_valkey: OwnValkey):
    server = own_valkey()
    server.ask("SET", "key", "value")

    server.kill()
    server.start()

    assert server.ask("GET", "key") is None


@pytest.mark.parametrize("program", ["valkey", "redis"])
def test_with_appendonly_a_crash_costs_nothing(program, own_valkey: OwnValkey):
    server = own_valkey(program=program, appendonly=True)
    port, pid = server.port, server.pid
    server.ask("SET", "key", "value")

    server.kill()
    with pytest.raises(redis.ConnectionError):
        server.ask("GET", "key")
    server.start()

    assert server.ask("GET", "key") == "value"
    assert server.port == port
    assert server.pid != pid


def test_after_a_restart_it_has_the_same_port_and_folder(own_valkey: OwnValkey):
    server = own_valkey(appendonly=True)
    url, unix_url = server.url, server.unix_url
    server.ask("SET", "key", "value")

    server.restart()

    assert (server.url, server.unix_url) == (url, unix_url)
    with redis.from_url(unix_url) as client:
        assert client.get("key") == b"value"


def test_who_asks_a_paused_one_waits_in_vain_until_it_goes_on(valkey: RedisServer):
    with valkey.client(socket_timeout=0.1) as client:
        client.set("key", "value")
        valkey.pause()
        with pytest.raises(redis.TimeoutError):
            client.get("key")
        valkey.resume()

        assert client.get("key") == b"value"


@pytest.mark.parametrize("deed", ["pause", "stop", "kill"])
def test_it_is_brought_back_whatever_was_done_to_it(deed, own_valkey: OwnValkey):
    server = own_valkey()
    getattr(server, deed)()

    server.bring_back()

    assert server.ask("ECHO", "here") == "here"


@pytest.mark.parametrize("deed", ["stop", "kill"])
def test_a_paused_one_can_be_ended(deed, own_valkey: OwnValkey):
    server = own_valkey()
    server.pause()

    getattr(server, deed)()

    assert not server.runs


def test_extra_configuration_outranks_the_rest(own_valkey: OwnValkey):
    server = own_valkey(config={"maxmemory": "5mb", "save": "900 1"})

    assert server.ask("CONFIG", "GET", "maxmemory") == ["maxmemory", str(5 * 1024 * 1024)]
    assert server.ask("CONFIG", "GET", "save") == ["save", "900 1"]


def test_one_that_does_not_start_says_why(own_valkey: OwnValkey):
    with pytest.raises(AssertionError, match="maxmemory nonsense"):
        own_valkey(config={"maxmemory": "nonsense"})


def test_a_removed_one_leaves_nothing(own_valkey: OwnValkey):
    server = RedisServer()
    server.start()

    server.remove()

    assert not server.runs
    assert not server.folder.exists()


def test_the_seconds_that_it_used_are_counted(own_valkey: OwnValkey):
    server = own_valkey()
    before = server.cpu()

    server.ask("EVAL", "local n = 0; for i = 1, 20000000 do n = n + i end; return n", 0)

    assert server.cpu() >= before + 0.03


def test_the_cluster_is_whole_and_known_by_its_url(cluster: Cluster):
    assert cluster.url == "redis+cluster://" + ",".join(node.url.removeprefix("redis://") for node in cluster.nodes)

    with redis.RedisCluster("127.0.0.1", cluster.nodes[0].port) as client:
        for number in range(20):
            client.set(f"key{number}", number)

    assert sum(node.ask("DBSIZE") for node in cluster.nodes) == 20
    assert all(node.ask("DBSIZE") for node in cluster.nodes)


def test_who_asks_another_node_is_told_that_the_slot_has_moved(cluster: Cluster):
    first, second, third = cluster.nodes
    third.ask("SET", "foo", "bar")
    with third.client() as client:
        client.set(b"{foo}\xff", b"\xff")
    for node in (first, second):
        with pytest.raises(MovedError) as told:
            node.ask("GET", "foo")
        assert (told.value.slot_id, told.value.port) == (SLOT, third.port)

    cluster.move_slot(SLOT, first)

    assert first.ask("GET", "foo") == "bar"
    with first.client() as client:
        assert client.get(b"{foo}\xff") == b"\xff"
    for node in (second, third):
        with pytest.raises(MovedError) as told:
            node.ask("GET", "foo")
        assert (told.value.slot_id, told.value.port) == (SLOT, first.port)


def test_while_a_slot_moves_its_node_says_whom_to_ask_for_what_is_not_there(cluster: Cluster):
    first, _, third = cluster.nodes
    third.ask("SET", "foo", "bar")

    cluster.begin_move(SLOT, first)
    assert third.ask("GET", "foo") == "bar"
    cluster.move_keys(SLOT)
    with pytest.raises(AskError) as told:
        third.ask("GET", "foo")
    assert (told.value.slot_id, told.value.port) == (SLOT, first.port)
    cluster.finish_move(SLOT)

    assert first.ask("GET", "foo") == "bar"
    assert cluster.owner(SLOT) is first


def test_a_cluster_is_lent_empty_and_with_every_slot_where_it_was(cluster: Cluster):
    first, second, third = cluster.nodes
    cluster.move_slot(SLOT, first)
    first.ask("SET", "foo", "bar")
    cluster.begin_move(SLOT - 1, second)

    cluster.lend()

    assert third.ask("GET", "foo") is None
    assert cluster.owner(SLOT) is third
    assert "->-" not in third.ask("CLUSTER", "NODES")


def test_the_sentinel_makes_the_replica_the_master(sentinel: Sentinel):
    old, new = sentinel.master, sentinel.replica
    assert sentinel.url == f"redis+sentinel://127.0.0.1:{sentinel.sentinel.port}/chat"
    with old.client() as client:
        client.set("key", "value")
        assert client.wait(1, 5000) == 1

    sentinel.failover()

    assert (sentinel.master, sentinel.replica) == (new, old)
    assert new.ask("GET", "key") == "value"
    new.ask("SET", "key", "newer")
    sentinel.settle()
    with pytest.raises(redis.ReadOnlyError):
        old.ask("SET", "key", "older")
