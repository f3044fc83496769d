"""One process at a time per instance folder."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from web.websocket.lock import InstanceLock
from web.websocket.serving import UnfitToServe

ROOT = Path(__file__).parent.parent.parent.parent

MakeLock = Callable[..., InstanceLock]


@pytest.fixture
def make_lock(tmp_path: Path) -> Iterator[MakeLock]:
    made: list[InstanceLock] = []

    def make(*, shared: bool = False) -> InstanceLock:
        made.append(InstanceLock(tmp_path / "instance", shared=shared))
        return made[-1]

    yield make
    for lock in made:
        lock.release()


def test_it_makes_the_folder_and_a_file_that_nobody_else_can_read(make_lock: MakeLock, tmp_path: Path) -> None:
    lock = make_lock()

    assert lock.path == tmp_path / "instance" / "lock"
    assert stat.S_IMODE(lock.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(lock.path.parent.stat().st_mode) == 0o700


def test_one_has_it_at_a_time(make_lock: MakeLock) -> None:
    first, second = make_lock(), make_lock()

    assert first.acquire()
    assert not second.acquire()
    assert not second.acquire()


def test_whoever_has_it_has_it_still_when_asking_again(make_lock: MakeLock) -> None:
    first, second = make_lock(), make_lock()
    first.acquire()

    assert first.acquire()
    assert not second.acquire()


def test_whoever_waits_can_tell_who_has_it(make_lock: MakeLock) -> None:
    first, second = make_lock(), make_lock()
    assert second.holder() == "unknown"

    first.acquire()

    assert second.holder() == str(os.getpid())


def test_the_name_of_a_predecessor_leaves_nothing_behind(make_lock: MakeLock) -> None:
    lock = make_lock()
    lock.path.write_text("12345678901234567890")

    lock.acquire()

    assert lock.holder() == str(os.getpid())


def test_those_who_share_have_it_together(make_lock: MakeLock) -> None:
    first, second = make_lock(shared=True), make_lock(shared=True)

    assert first.acquire()
    assert second.acquire()


def test_who_does_not_share_waits_for_all_who_do(make_lock: MakeLock) -> None:
    first, second, alone = make_lock(shared=True), make_lock(shared=True), make_lock()
    first.acquire()
    second.acquire()

    assert not alone.acquire()
    first.release()
    assert not alone.acquire()
    second.release()
    assert alone.acquire()


def test_who_shares_waits_for_one_who_does_not(make_lock: MakeLock) -> None:
    alone, sharing = make_lock(), make_lock(shared=True)
    alone.acquire()

    assert not sharing.acquire()
    assert sharing.holder() == str(os.getpid())
    alone.release()
    assert sharing.acquire()


def test_released_the_next_one_has_it(make_lock: MakeLock) -> None:
    first, second = make_lock(), make_lock()
    first.acquire()

    first.release()

    assert second.acquire()


def test_releasing_twice_takes_nothing_from_the_next_one(make_lock: MakeLock) -> None:
    first, second, third = make_lock(), make_lock(), make_lock()
    first.acquire()
    first.release()
    second.acquire()

    first.release()

    assert not third.acquire()


def test_releasing_what_was_never_had_takes_it_from_nobody(make_lock: MakeLock) -> None:
    first, second, third = make_lock(), make_lock(), make_lock()
    first.acquire()

    second.release()

    assert not third.acquire()


def test_a_process_that_is_killed_lets_go_of_it(make_lock: MakeLock, tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from web.websocket.lock import InstanceLock\n"
        "lock = InstanceLock(Path(sys.argv[1])); print(lock.acquire(), flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "instance")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        lock = make_lock()
        assert not lock.acquire()
        assert lock.holder() == str(process.pid)
        process.kill()
        process.wait(10)

    assert lock.acquire()


def test_programs_that_are_started_meanwhile_do_not_keep_it(make_lock: MakeLock) -> None:
    first, second = make_lock(), make_lock()
    first.acquire()
    script = "print('I run', flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script], close_fds=False, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"I run\n"
        first.release()

        assert second.acquire()
        process.communicate(b"\n", timeout=10)


def test_a_folder_that_cannot_be_made_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UnfitToServe, match=r"CHAT_INSTANCE: .*/file/instance cannot be used: Not a directory"):
        InstanceLock(tmp_path / "file" / "instance")
