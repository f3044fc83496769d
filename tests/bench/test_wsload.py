"""The load generator, against the smallest server that there is: what it counts, and what it refuses."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from websockets.sync.client import connect

from bench.load import build
from bench.running import Running, running
from bench.servers import SERVERS

N = 20
QUICK = ("--n", str(N), "--warmup", "0.1", "--dur", "0.2")


@pytest.fixture(scope="module")
def ceiling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    server, folder = SERVERS["ceiling"], tmp_path_factory.mktemp("ceiling")
    server.install()
    with running(server, folder, core=min(os.sched_getaffinity(0)), members=N, settings={}) as it:
        yield it


def wsload(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([build("wsload"), *options], capture_output=True, text=True, timeout=30, check=False)


def measured(server: Running, *options: str) -> dict[str, float]:
    figures: dict[str, float] = json.loads(wsload(*server.options(), *QUICK, *options).stdout)
    return figures


def together(server: Running, *loads: tuple[str, ...]) -> list[dict[str, float]]:
    """Several loads as one: each begins when all are ready, and none hangs up before all have measured."""
    command = [build("wsload"), "--port", str(server.port), "--path", "/one", *QUICK, "--wait"]
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        running = [
            stack.enter_context(subprocess.Popen([*command, *load], stdin=pipe, stdout=pipe, stderr=pipe, text=True))
            for load in loads
        ]
        for process in running:
            assert process.stderr.readline() == "ready\n"
        for process in running:
            process.stdin.write("go\n")
            process.stdin.flush()
        lines = [process.stdout.readline() for process in running]
        assert [process.poll() for process in running] == [None] * len(running)
        for process in running:
            process.stdin.close()
        return [json.loads(line) for line in lines]


def clean(figures: dict[str, float]) -> bool:
    return figures["opened"] == N and [figures[key] for key in ("failed", "lost", "died", "bad")] == [0, 0, 0, 0]


def test_what_senders_keep_in_flight_is_all_delivered(ceiling: Running) -> None:
    got = measured(ceiling, "--senders", "2", "--window", "3", "--size", "5000")

    assert clean(got)
    assert got["delivered_s"] > N
    assert 0 < got["sender_min"] <= got["sender_max"]
    assert 0 < got["echo_p50_ms"] <= got["echo_p99_ms"]


def test_a_load_that_never_sleeps_delivers_all_the_same(ceiling: Running) -> None:
    got = measured(ceiling, "--senders", "2", "--window", "3", "--poll", "100")

    assert clean(got)
    assert got["delivered_s"] > N


def test_a_load_that_never_sleeps_keeps_its_rate(ceiling: Running) -> None:
    got = measured(ceiling, "--mode", "latency", "--rate", "50", "--poll", "100")

    assert clean(got)
    assert got["samples"] == N * 10


def test_in_turn_every_client_sends_as_often_as_the_others(ceiling: Running) -> None:
    got = measured(ceiling, "--rotate", "--senders", "2", "--window", "3")

    assert clean(got)
    assert 0 < got["sender_max"] - 6 <= got["sender_min"] <= got["sender_max"]


def test_latency_has_a_sample_for_each_member_and_message(ceiling: Running) -> None:
    got = measured(ceiling, "--mode", "latency", "--rate", "50")

    assert clean(got)
    assert N * 10 <= got["samples"] <= N * 15  # of 10; those of the 5 before may come late
    assert 0 < got["p50_ms"] <= got["p99_ms"] <= got["max_ms"]


def test_who_never_reads_is_missed_by_nobody_and_seen_to_be_dropped(ceiling: Running) -> None:
    got = measured(ceiling, "--stalled", "2", "--size", "60000", "--dur", "0.8")

    assert clean(got)
    assert got["stalled_closed"] == 2


def test_without_the_servers_process_nothing_is_said_of_it(ceiling: Running) -> None:
    port = str(ceiling.port)
    fanout, rest = (
        json.loads(wsload("--port", port, *QUICK, *more).stdout) for more in ((), ("--mode", "connect", "--idle", "0"))
    )

    assert [fanout[key] for key in ("conn_srv_cpu", "conn_other_cpu", "srv_cpu", "other_cpu")] == [None] * 4
    assert [rest[key] for key in ("rss0_kb", "rss1_kb", "rss_per_conn_kb", "idle_cpu")] == [None] * 4
    assert rest["still_open"] == N


def test_each_of_several_processes_of_a_server_has_a_figure_of_its_own(ceiling: Running) -> None:
    with subprocess.Popen(["sleep", "60"]) as idle:
        got = measured(ceiling, "--dur", "0.5", "--pid", f"{ceiling.pid},{idle.pid}")
        idle.kill()

    assert got["srv_cpu_1"] > 0.1 > got["srv_cpu_2"]
    assert got["srv_cpu"] == pytest.approx(got["srv_cpu_1"] + got["srv_cpu_2"], abs=0.002)


def test_of_one_process_there_is_no_second_figure(ceiling: Running) -> None:
    assert "srv_cpu_1" not in measured(ceiling)


def test_what_clients_of_another_load_say_is_delivered_and_missed_by_nobody(ceiling: Running) -> None:
    here, there = together(ceiling, ("--first", "0", "--senders", "2"), ("--first", str(N), "--senders", "1"))

    assert clean(here)
    assert clean(there)
    assert here["from_others"] > 0
    assert there["from_others"] > 0
    assert min(here["delivered_s"], there["delivered_s"]) > N  # not alike: their windows are not the same 0.2 s


def test_the_way_from_a_client_of_another_load_is_a_sample_too(ceiling: Running) -> None:
    latency = ("--mode", "latency", "--rate", "50")
    here, there = together(ceiling, (*latency, "--first", "0"), (*latency, "--first", str(N)))

    assert clean(here)
    assert clean(there)
    assert min(here["samples"], there["samples"]) > N * 15  # each says 10
    assert 0 < here["p50_ms"] < 100


def test_a_load_that_believes_itself_alone_takes_what_others_say_for_said_to_it_twice(ceiling: Running) -> None:
    here, _ = together(ceiling, (), ("--first", str(N)))

    assert here["lost"] < 0
    assert "from_others" not in here


def test_over_chat_v1_a_client_is_open_only_once_it_was_welcomed(ceiling: Running) -> None:
    got = measured(ceiling, "--protocol", "chatv1", "--conn-timeout", "0.3")

    assert (got["opened"], got["failed"], got["handshakes_s"]) == (0, 0, 0)


def test_nothing_is_measured_before_it_has_been_quiet(ceiling: Running) -> None:
    start = time.monotonic()
    measured(ceiling, "--mode", "connect", "--idle", "0", "--quiet", "0.8")

    assert time.monotonic() - start >= 1.8  # one second is the look at the server at rest


def test_where_nobody_listens_all_clients_have_failed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    got = json.loads(wsload("--port", port, *QUICK).stdout)

    assert (got["opened"], got["failed"], got["died"], got["delivered_s"]) == (0, N, N, 0)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--n", "ten"), '--n: "ten" is no number'),
        (("--first", "-2"), "--first: not less than nothing"),
        (("--pid", "1,x"), '--pid: "1,x" is no list of processes'),
        (("--pid", "4194305"), "--pid: no process 4194305"),  # the kernel's highest is one less
        (("--mode", "storm"), "--mode: fanout, latency or connect"),
        (("--host", "192.0.2.1"), "--host: only addresses in 127.0.0.0/8"),
        (("--size", "70000"), "--size: 1 to 65536"),
        (("--n", "10", "--stalled", "10"), "--stalled: fewer than --n, and not with --mode connect"),
        (("--n", "10", "--channels", "11"), "--channels: 1 to the clients that read"),
        (("--mode", "latency", "--rotate"), "--rotate: only with --mode fanout"),
        (("--mode", "connect", "--poll", "9"), "--poll: not less than nothing, and not with --mode connect"),
        (("--n", "10", "--stalled", "1", "--senders", "10"), "--senders: at most the clients that read"),
        (("more",), '"more" is no option; see --help'),
    ],
)
def test_what_makes_no_sense_is_refused(options: tuple[str, ...], reason: str) -> None:
    refused = wsload(*options)

    assert (refused.returncode, refused.stderr) == (1, f"wsload: {reason}\n")


def test_the_ceiling_repeats_texts_of_every_length_to_everybody(ceiling: Running) -> None:
    address = f"ws://127.0.0.1:{ceiling.port}/anything"
    with connect(address) as one, connect(address) as other:
        for length in (0, 1, 125, 126, 65535):
            one.send("x" * length)
            assert one.recv(timeout=5) == other.recv(timeout=5) == "x" * length
