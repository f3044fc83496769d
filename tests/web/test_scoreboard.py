"""The folder for the metrics of several workers: whose it is, and how long it is there."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import prometheus_client.multiprocess  # noqa: F401  # before a test names a folder, which would be for all tests
import pytest

from web import scoreboard

MAKE = """
import os
from pathlib import Path
from types import SimpleNamespace
from web import scoreboard
from web.scoreboard import folder, make
scoreboard.MEMORY = Path(os.environ.get("BASE", scoreboard.MEMORY))
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


ORPHANED = """
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


@contextmanager
def orphaned(base: Path) -> Iterator[tuple[Path, "subprocess.Popen[str]"]]:
    """What a master has made in `base` that was killed; its worker lives until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", f"import sys{MAKE}".partition("if not os.fork():")[0] + ORPHANED],
        env=os.environ | {"BASE": str(base)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        assert process.stdout is not None
        made = Path(process.stdout.readline().strip())
        assert process.wait(20) == -signal.SIGKILL
        assert made.parent == base
        yield made, process


def killed_one(base: Path) -> Path:
    """What a master leaves in `base` that was killed, and its worker too."""
    with orphaned(base) as (made, process):
        (made / "gauge_liveall_7.db").touch()
        os.killpg(process.pid, signal.SIGKILL)
        with (made / scoreboard.LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # both have ended
    return made


def test_of_a_master_that_was_killed_the_workers_remove_it(tmp_path: Path) -> None:
    with orphaned(tmp_path) as (made, process):
        assert made.exists()
        assert process.stdin is not None
        assert process.stdout is not None

        process.stdin.close()

        assert process.stdout.read() == ""  # the worker has ended
    assert list(tmp_path.iterdir()) == []


def test_where_the_workers_were_killed_too_the_next_master_removes_it(tmp_path: Path) -> None:
    left = [killed_one(tmp_path), killed_one(tmp_path)]
    assert left[1].exists()

    made, _ = master(BASE=str(tmp_path)).split(maxsplit=1)

    assert Path(made).parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_one_that_a_worker_still_has_is_left_to_it(tmp_path: Path) -> None:
    with orphaned(tmp_path) as (made, _):
        master(BASE=str(tmp_path))

        assert made.exists()


def test_what_is_not_such_a_folder_of_ones_own_is_left_as_it_is(tmp_path: Path) -> None:
    base, elsewhere = tmp_path / "base", tmp_path / "elsewhere"
    base.mkdir()
    killed_one(base).rename(elsewhere)
    (base / f"{scoreboard.PREFIX}link").symlink_to(elsewhere)
    (base / f"{scoreboard.PREFIX}file").touch()
    (base / f"{scoreboard.PREFIX}without").mkdir(0o700)
    killed_one(base).rename(base / "another name")
    killed_one(base).rename(base / f"{scoreboard.PREFIX}open").chmod(0o755)
    linked = base / f"{scoreboard.PREFIX}linked"
    linked.mkdir(0o700)
    (linked / scoreboard.LOCK).symlink_to(elsewhere / scoreboard.LOCK)
    if os.geteuid() == 0:
        os.chown(killed_one(base), 12345, 12345)  # another user's
    before = sorted(base.iterdir())

    master(BASE=str(base))

    assert sorted(base.iterdir()) == before
    assert sorted(path.name for path in elsewhere.iterdir()) == ["gauge_liveall_7.db", scoreboard.LOCK]


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
