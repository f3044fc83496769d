"""What an operator sees at `/metrics`: all workers of one gunicorn, whichever of them is asked."""

import fcntl
import os
import signal
import stat
import sys
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from websockets.protocol import State

from tests.live.people import Person, Place
from tests.live.servers import LISTENING, gunicorn, running, until, worker_of, workers_of
from tests.valkey import OwnValkey
from web.scoreboard import LOCK

Scrape = Mapping[str, Mapping[str, float]]


def scrape(place: Place) -> Scrape:
    """Values by name and process; that of all together is under ""."""
    answer = place.request("GET", "/metrics")
    found: dict[str, dict[str, float]] = defaultdict(dict)
    if answer.status == 200:
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                found[sample.name][sample.labels.get("pid", "")] = sample.value
    return found


def all_of(pids: list[int], value: float) -> Mapping[str, float]:
    return {str(pid): value for pid in pids}


def test_each_worker_shows_all_and_what_becomes_of_their_valkey_and_of_themselves(
    own_valkey: OwnValkey, tmp_path: Path
) -> None:
    redis = own_valkey(appendonly=True)
    with gunicorn(tmp_path / "instance", "-w", "2", CHAT_REDIS_URL=redis.url, CHAT_WORKERS="2") as (server, where):
        place = Place(where)

        def are(up: float) -> bool:
            found = scrape(place)
            workers = workers_of(server)
            return len(workers) == 2 and found["chat_redis_up"] == found["chat_ready"] == all_of(workers, up)

        until(lambda: are(1), "both ready", detail=lambda: f"{scrape(place)}\n{server.log}")
        workers = workers_of(server)
        ann = Person(place, "ann").register()
        assert ann.create("lobby").status == 201
        open_sockets = [ann.enter("lobby").socket for _ in range(8)]
        until(lambda: scrape(place)["chat_connections"] == {"": 8}, "all eight")

        redis.kill()
        until(lambda: are(0), "neither", detail=lambda: str(scrape(place)))
        assert scrape(place)["chat_database_up"] == all_of(workers, 1)
        redis.start()
        until(lambda: are(1), "both again", detail=lambda: str(scrape(place)))
        assert scrape(place)["chat_connections"] == {"": 8}

        os.kill(workers[0], signal.SIGKILL)
        until(lambda: workers[0] not in workers_of(server), "its end")
        until(lambda: are(1), "the other one, and the successor", detail=lambda: str(scrape(place)))

        def rest() -> int:
            return sum(socket.protocol.state is State.OPEN for socket in open_sockets)

        until(lambda: scrape(place)["chat_connections"] == {"": rest()}, "what is left of the eight")
        assert "Warning" not in server.log
        assert "Traceback" not in server.log


def scoreboard_of(worker: int) -> Path | None:
    """The folder to which it writes; None before it does."""
    for link in Path(f"/proc/{worker}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            if link.readlink().match("gauge_*.db"):
                return link.readlink().parent
    return None


def test_one_worker_has_a_private_folder_that_a_hup_keeps_and_the_master_of_a_usr2_does_not_share(tmp_path: Path) -> None:
    # As a program: with `python -m gunicorn` the next master finds gunicorn's `http` in place of Python's.
    program = [sys.executable, str(Path(sys.executable).with_name("gunicorn"))]
    command = [*program, "-b", "127.0.0.1:0", "-p", str(tmp_path / "pid"), "wsgi:app"]
    with running(command, CHAT_INSTANCE=str(tmp_path / "instance")) as server:
        place = Place(server.wait_for(LISTENING).group(1))
        (first,) = until(lambda: workers_of(server), "a worker", detail=lambda: server.log)
        until(lambda: scrape(place)["chat_ready"] == all_of([first], 1), "ready", detail=lambda: server.log)
        folder = scoreboard_of(first)
        assert folder is not None
        assert (stat.S_IMODE(folder.stat().st_mode), folder.owner()) == (0o700, Path("/proc/self").owner())

        server.signal(signal.SIGHUP)
        until(lambda: workers_of(server) != [first] and len(workers_of(server)) == 1, "its successor")
        until(lambda: scrape(place)["chat_ready"] == all_of(workers_of(server), 1), "ready", detail=lambda: server.log)
        assert scoreboard_of(worker_of(server)) == folder

        server.signal(signal.SIGUSR2)
        successor = int(until(lambda: _read(tmp_path / "pid.2"), "a second master", detail=lambda: server.log))
        try:
            server.signal(signal.SIGTERM)
            until(lambda: not folder.exists(), "the end of the first master", detail=lambda: server.log)
            worker = int(until(lambda: _read(Path(f"/proc/{successor}/task/{successor}/children")), "its worker"))
            until(lambda: scrape(place)["chat_ready"] == all_of([worker], 1), "ready", detail=lambda: server.log)
            second = scoreboard_of(worker)
            assert second is not None
            assert second != folder
        finally:
            os.kill(successor, signal.SIGTERM)
        until(lambda: not second.exists(), "the end of the second master")
        assert "Traceback" not in server.log


def test_what_is_left_of_a_master_and_workers_that_were_killed_the_next_one_removes(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "instance", "-w", "2") as (server, _):
        until(lambda: len(workers_of(server)) == 2, "two workers", detail=lambda: server.log)
        workers = workers_of(server)
        folder = until(lambda: scoreboard_of(workers[0]), "its folder", detail=lambda: server.log)
        for pid in (server.pid, *workers):
            os.kill(pid, signal.SIGKILL)
        with suppress(FileNotFoundError), (folder / LOCK).open() as lock:  # another one may have begun meanwhile
            fcntl.flock(lock, fcntl.LOCK_EX)  # all have ended

    with gunicorn(tmp_path / "instance", "-w", "2") as (server, where):
        assert not folder.exists()
        until(
            lambda: scrape(Place(where))["chat_ready"] == all_of(workers_of(server), 1), "both", detail=lambda: server.log
        )


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def test_a_folder_that_is_not_there_costs_the_metrics_and_nothing_else(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "instance", PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "nowhere")) as (server, where):
        place = Place(where)
        server.wait_for("/metrics will not show this process: .*nowhere")

        assert place.request("GET", "/metrics").status == 500
        os.kill(worker_of(server), signal.SIGKILL)
        until(lambda: server.log.count("will not show") == 2, "a successor", detail=lambda: server.log)
        assert place.request("GET", "/readyz").status == 200
