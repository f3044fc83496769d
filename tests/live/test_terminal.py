"""`python -m chat.client` as somebody uses it: at a terminal, and in pipes."""

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from select import select

import pytest

from chat.client import ChatClient, Login, Unreachable
from tests.live.certificates import certificate
from tests.live.conftest import Site
from tests.live.people import PASSWORD, Person, Place
from tests.live.servers import TOP, clean_environ, gunicorn, until, worker_of

PATIENCE = 20.0
ESCAPES = re.compile(r"\x1b\[[0-9]*[A-Za-z]")


def environ(**more: str | None) -> dict[str, str]:
    """With what is given; None leaves it out."""
    given = {**clean_environ(), "CHAT_PASSWORD": PASSWORD, "TERM": "xterm", "TZ": "UTC", **more}
    return {name: value for name, value in given.items() if value is not None}


def command(site_url: str, name: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "chat.client", f"{site_url}/chat", "lobby", "--user", name, *more]


def piped(site_url: str, name: str, text: str, *more: str, **env: str | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(site_url, name, *more),
        input=text,
        env=environ(**env),
        cwd=TOP,
        text=True,
        capture_output=True,
        timeout=PATIENCE,
    )


class Window:
    """A terminal with the program in it."""

    def __init__(self, command: list[str], **env: str | None) -> None:
        self._ours, theirs = pty.openpty()
        self._program = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ(**env), cwd=TOP, start_new_session=True
        )
        os.close(theirs)
        self.raw = ""

    @property
    def text(self) -> str:
        """All it has shown, without colours."""
        while select([self._ours], [], [], 0)[0]:
            try:
                self.raw += os.read(self._ours, 4096).decode(errors="replace")
            except OSError:  # a terminal whose program has ended
                break
        return ESCAPES.sub("", self.raw).replace("\r\n", "\n")

    def shows(self, pattern: str) -> None:
        until(lambda: re.search(pattern, self.text, re.MULTILINE), pattern, detail=lambda: self.text)

    def type(self, line: str) -> None:
        os.write(self._ours, line.encode() + b"\n")

    def press(self, key: bytes) -> None:
        os.write(self._ours, key)

    def interrupt(self) -> None:
        self._program.send_signal(signal.SIGINT)

    def wait(self) -> int:
        until(lambda: [self.text, self._program.poll()][1] is not None, "its end", detail=lambda: self.text)
        return self._program.returncode

    def close(self) -> None:
        self._program.kill()
        self._program.wait()
        os.close(self._ours)


Open = Callable[..., Window]


@pytest.fixture
def open_window() -> Iterator[Open]:
    windows: list[Window] = []

    def make(command: list[str], **env: str | None) -> Window:
        windows.append(Window(command, **env))
        return windows[-1]

    yield make
    for window in windows:
        window.close()


def test_two_talk_in_terminals_and_a_third_by_a_pipe(site: Site, open_window: Open) -> None:
    for name in ("ann", "bob smith", "bot"):
        site.person(name)
    ann = open_window(command(site.url, "ann", "--create"))
    ann.shows("^-- ann in lobby, nobody else here")
    bob = open_window(command(site.url, "bob smith"), NO_COLOR="1")
    ann.shows("^-- bob smith is here$")

    ann.type("hello")
    bob.shows(r"^\d\d:\d\d ann: hello$")
    ann.shows(r"^\d\d:\d\d ann: hello$")
    ann.type('/w "bob smith" psst')
    bob.shows(r"^\d\d:\d\d ann -> bob smith: psst$")
    ann.type("/names")
    ann.shows("^-- ann, bob smith$")
    ann.type("/dance")
    ann.shows("there is no /dance")

    bot = piped(site.url, "bot", "one\n//two\n/w nobody hey\n")
    assert bot.returncode == 1
    assert "-- not said: hey (" in bot.stdout
    assert "\x1b" not in bot.stdout
    bob.shows(r"^\d\d:\d\d bot: one\n\d\d:\d\d bot: /two$")
    bob.shows("^-- bot has gone$")

    assert "\x1b[" in ann.raw
    assert not re.search(r"\x1b\[\d+m", bob.raw)
    bob.press(b"\x04")  # Ctrl-D
    assert bob.wait() == 0
    ann.shows("^-- bob smith has gone$")
    ann.type("/quit")
    assert ann.wait() == 0


def test_what_others_write_cannot_move_the_cursor(site: Site, open_window: Open) -> None:
    ann, bob = site.person("ann"), site.person("bob")
    window = open_window(command(site.url, "ann", "--create"))
    window.shows("ann in lobby")

    assert piped(site.url, "bob", "\x1b]0;owned\x07\x1b[2Jboo\n").returncode == 0

    window.shows(r"bob: \ufffd\]0;owned\ufffd\ufffd\[2Jboo")
    assert "\x1b]" not in window.raw
    assert "\x07" not in window.raw
    assert (ann.name, bob.name) == ("ann", "bob")


def test_errors_are_one_sentence_and_a_status(site: Site) -> None:
    site.person("ann")
    nowhere = piped("http://127.0.0.1:1", "ann", "", CHAT_PASSWORD="x")
    wrong = piped(site.url, "ann", "", CHAT_PASSWORD="wrong")
    misused = piped("ftp://x", "ann", "")

    assert (wrong.returncode, wrong.stderr) == (1, "chat: there is no account with this name and this password\n")
    assert (nowhere.returncode, nowhere.stderr) == (1, "chat: http://127.0.0.1:1 cannot be reached: Connection refused\n")
    assert misused.returncode == 2
    assert "is no address of a chat" in misused.stderr


def test_it_outlives_a_server_that_is_killed_and_says_what_was_typed_meanwhile(site: Site, open_window: Open) -> None:
    site.person("ann")
    window = open_window(command(site.url, "ann", "--create"))
    window.type("before")
    window.shows("ann: before$")

    os.kill(worker_of(site.server), signal.SIGKILL)
    window.shows("^-- no connection")
    window.type("meanwhile")
    window.shows("^-- connected$")
    window.shows("ann: meanwhile$")
    window.type("/edit afterwards")
    window.shows(r"ann: \(edited\) afterwards$")
    window.type("/delete")
    window.shows("ann has deleted a message$")
    window.type("/history")
    window.shows("ann had said what is deleted now$")

    assert window.text.count("ann: meanwhile") == 1
    window.interrupt()
    assert window.wait() == 130


def test_the_password_is_asked_for_and_not_shown(site: Site, open_window: Open) -> None:
    site.person("ann")
    window = open_window(command(site.url, "ann", "--create"), CHAT_PASSWORD=None)
    window.shows("^Password of ann: $")
    window.type(PASSWORD)

    window.shows("^-- ann in lobby")
    assert PASSWORD not in window.text
    assert piped(site.url, "ann", "", CHAT_PASSWORD=None).stderr == (
        "chat: there is nobody to ask for a password: set CHAT_PASSWORD\n"
    )


def test_a_client_logs_in_and_talks_over_tls(tmp_path: Path) -> None:
    args, trusting = certificate(tmp_path)
    with gunicorn(tmp_path / "instance", *args) as (_, where):
        Person(Place(where, tls=trusting), "ann").register()
        with ChatClient(f"{where}/chat", login=Login("ann", PASSWORD), tls=trusting) as client:
            client.create_channel("lobby")
            lobby = client.join("lobby", patient=False)
            assert lobby.publish("hello").wait(PATIENCE) == 1
        with (
            ChatClient(f"{where}/chat", login=Login("ann", PASSWORD)) as client,
            pytest.raises(Unreachable, match="certificate"),
        ):
            client.join("lobby", patient=False)


@pytest.mark.parametrize("patch", ["", "from gevent import monkey; monkey.patch_all()"])
def test_the_docs_bot_answers_whether_or_not_anything_is_patched(site: Site, open_window: Open, patch: str) -> None:
    site.person("ann")
    site.person("bob")
    block = re.findall(r"```python\n(.*?)```", (TOP / "docs/client.md").read_text(), re.DOTALL)[0]
    program = block.replace("http://127.0.0.1:8000", site.url).replace('"secret"', repr(PASSWORD))
    bob = open_window(command(site.url, "bob", "--create"))
    bob.shows("^-- bob in lobby")
    open_window([sys.executable, "-c", f"{patch}\n{program}"])
    bob.shows("ann: hello$")
    bob.type("ping")

    bob.shows("ann: pong$")
