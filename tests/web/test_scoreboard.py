"""The folder for the metrics of several workers: whose it is, and how long it is there."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import prometheus_client.multiprocess  # noqa: F401  # before a test names a folder, which would be for all tests
import pytest

from web import scoreboard

MAKE = """
import os
from types import SimpleNamespace
from web.scoreboard import folder, make
server = SimpleNamespace(cfg=SimpleNamespace(env={}, uid=os.geteuid(), gid=os.getegid()))
make(server)
made = folder()
make(server)
assert folder() == made
if not os.fork():
    raise SystemExit  # a worker
os.wait()
print(made, oct(os.stat(made).st_mode & 0o777), sorted(set(("prometheus_client", "gevent", "flask")) & set(sys.modules)))
"""


KILLED = """
if os.fork():
    print(made, flush=True)
    os.kill(os.getpid(), 9)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _as_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(scoreboard.VARIABLE, raising=False)


def master(**env: str) -> str:
    """What a master says that makes one, and has a worker that ends."""
    return subprocess.run(
        [sys.executable, "-c", f"import sys{MAKE}"],
        env=os.environ | env,
        check=True,
        capture_output=True,
        text=True,
        timeout=20,
    ).stdout


def test_it_is_for_the_workers_alone_outlives_them_and_ends_with_its_master() -> None:
    made, *rest = master().split(maxsplit=1)

    assert rest == ["0o700 []\n"]
    assert not Path(made).exists()


def test_of_a_master_that_was_killed_the_workers_remove_it() -> None:
    killed = f"import sys{MAKE}".partition("if not os.fork():")[0] + KILLED
    command = [sys.executable, "-c", killed]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        made = Path(process.stdout.readline().strip())
        assert process.wait(20) == -signal.SIGKILL
        assert made.exists()

        process.stdin.close()

        assert process.stdout.read() == ""  # the worker has ended
    assert not made.exists()


def test_one_that_the_operator_has_named_is_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)

    said = master(**{scoreboard.VARIABLE: str(tmp_path)})

    assert said == f"{tmp_path} 0o750 []\n"
    assert tmp_path.exists()


def test_that_of_the_master_before_is_not_taken_for_the_operators(tmp_path: Path) -> None:
    before = tmp_path / f"{scoreboard.PREFIX}before"
    before.mkdir()

    made, _ = master(**{scoreboard.VARIABLE: str(before)}).split(maxsplit=1)

    assert made != str(before)
    assert before.exists()


def test_what_a_worker_leaves_behind_is_removed_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(scoreboard.VARIABLE, str(tmp_path))
    for name in ("gauge_liveall_7.db", "gauge_livesum_7.db", "gauge_liveall_77.db", "counter_7.db"):
        (tmp_path / name).touch()

    scoreboard.forget(SimpleNamespace(), 7)  # type: ignore[arg-type]

    assert sorted(path.name for path in tmp_path.iterdir()) == ["counter_7.db", "gauge_liveall_77.db"]


def test_what_cannot_be_removed_is_logged_and_ends_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(scoreboard.VARIABLE, str(tmp_path))
    (tmp_path / "gauge_liveall_7.db").mkdir()  # which is no file
    said: list[str] = []
    server = SimpleNamespace(log=SimpleNamespace(error=lambda msg, *args: said.append(msg % args)))

    scoreboard.forget(server, 7)  # type: ignore[arg-type]

    assert [line.partition(": ")[0] for line in said] == ["The metrics of process 7, which has ended, are still shown"]
