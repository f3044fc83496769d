"""Who has the folder of an embedded Valkey, and where the socket is."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from web.valkey.home import LONGEST, Home, Unavailable

Lock = Callable[[], int | None]
Take = Callable[[Lock], bool]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "instance")
    home.make()
    return home


@pytest.fixture
def deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """One whose path is too long for a socket."""
    (tmp_path / "t").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    home = Home(tmp_path / ("long" * 30))
    home.make()
    return home


@pytest.fixture
def take() -> Iterator[Take]:
    """Takes a lock, and says whether it was to be had; all are given back at the end."""
    taken: list[int] = []

    def take(lock: Lock) -> bool:
        descriptor = lock()
        taken.extend([] if descriptor is None else [descriptor])
        return descriptor is not None

    yield take
    for descriptor in taken:
        os.close(descriptor)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_and_all_that_is_in_it_are_for_the_owner_alone(home: Home, take: Take) -> None:
    assert take(home.take)
    assert take(home.join)

    assert mode_of(home.folder) == mode_of(home.folder.parent) == 0o700
    assert {path.name: mode_of(path) for path in home.folder.iterdir()} == {"lock": 0o600, "users": 0o600}


def test_a_folder_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    (tmp_path / "valkey").mkdir(mode=0o755)

    Home(tmp_path).make()

    assert mode_of(tmp_path / "valkey") == 0o700


def test_there_is_one_supervisor(home: Home, take: Take) -> None:
    assert home.is_vacant
    assert take(home.take)

    assert not take(home.take)
    assert not home.is_vacant


def test_who_is_handed_the_lock_has_it_when_the_giver_has_gone(home: Home) -> None:
    lock = home.take()
    assert lock is not None
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock]) as heir:
        os.close(lock)

        assert not home.is_vacant
        heir.communicate(b"\n", timeout=10)
    assert home.is_vacant


def test_users_are_many_and_it_is_not_closed_while_there_are_any(home: Home, take: Take) -> None:
    first = home.join()
    assert first is not None
    second = home.join()
    assert second is not None

    os.close(first)
    assert not take(home.close)
    os.close(second)
    assert take(home.close)


def test_nobody_joins_what_is_being_closed(home: Home, take: Take) -> None:
    assert take(home.close)

    assert not take(home.join)


def test_a_link_in_the_place_of_a_lock_is_not_followed(home: Home, tmp_path: Path) -> None:
    (home.folder / "users").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic links"):
        home.join()

    assert not (tmp_path / "elsewhere").exists()


def test_the_socket_is_in_the_folder_however_one_comes_there(home: Home, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "instance")
    home.place()

    assert home.socket == home.folder / "socket"
    assert Home(tmp_path / "link").socket == home.socket


def test_the_url_holds_any_path(tmp_path: Path) -> None:
    home = Home(tmp_path / "a b#c?d%e")

    assert unquote(urlsplit(home.url).path) == str(home.socket)


def test_a_socket_whose_path_would_be_too_long_has_a_private_place_elsewhere(deep: Home) -> None:
    deep.place()

    assert len(os.fsencode(deep.socket)) <= LONGEST
    assert deep.socket.parent.parent == Path(tempfile.gettempdir())
    assert mode_of(deep.socket.parent) == 0o700


def test_its_place_stays_the_same_even_if_it_was_swept_away(deep: Home) -> None:
    deep.place()
    before = deep.socket
    deep.place()
    assert deep.socket == before
    before.parent.rmdir()

    deep.place()

    assert deep.socket == before
    assert mode_of(before.parent) == 0o700


@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_a_place_that_others_may_enter_is_given_up(deep: Home, mode: int) -> None:
    deep.place()
    before = deep.socket.parent
    before.rmdir()
    before.mkdir()
    before.chmod(mode)  # whoever has made it

    deep.place()

    assert deep.socket.parent != before


def test_with_no_short_path_anywhere_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.valkey.home.LONGEST", 20)
    home = Home(tmp_path)
    home.make()

    with pytest.raises(Unavailable, match="set CHAT_INSTANCE to a shorter one"):
        home.place()


@pytest.mark.parametrize("which", ["home", "deep"])
def test_cleared_there_is_no_socket_and_no_place_elsewhere(which: str, request: pytest.FixtureRequest) -> None:
    home: Home = request.getfixturevalue(which)
    home.place()
    place = home.socket
    place.touch()

    home.clear()

    assert not place.exists()
    assert place.parent.exists() is (which == "home")
    home.clear()


def test_where_nobody_listens_there_is_no_answer(home: Home) -> None:
    assert home.ask("PING") == ""
    home.socket.touch()
    assert home.ask("PING") == ""
