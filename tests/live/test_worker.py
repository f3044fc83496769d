"""The gunicorn worker: what it carries, how it ends, how it takes over, and what it refuses to start with."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.live.certificates import certificate
from tests.live.conftest import Site
from tests.live.crowd import crowded
from tests.live.people import Person, Place
from tests.live.servers import LISTENING, SERVING, TOP, Server, gunicorn, running, until, worker_of

WORKER = "web.websocket.worker.ChatWorker"
RETRY = re.compile(r"retry=(\d+\.\d{3})")


def test_parked_sockets_use_up_no_worker_connections(tmp_path: Path) -> None:
    with crowded(tmp_path, 60, "--worker-connections", "6") as (_, place, _crowd):
        began = time.monotonic()
        answer = place.request("GET", "/readyz")

        assert answer.json == {"connections": 60, "status": "ready"}
        assert time.monotonic() - began < 1.0


def test_over_tls_sockets_do_not_use_up_worker_connections(tmp_path: Path) -> None:
    files, trusting = certificate(tmp_path)
    with gunicorn(tmp_path / "instance", *files, "--worker-connections", "4") as (server, where):
        place = Place(where, tls=trusting)
        ann = Person(place, "ann").register()
        ann.create("lobby")
        chatters = [ann.enter("lobby") for _ in range(6)]
        chatters[0].say("to all")

        assert [chatter.hear("message")["text"] for chatter in chatters] == ["to all"] * 6
        assert place.request("GET", "/healthz").status == 200
        server.signal(signal.SIGTERM)
        assert [chatter.closing()[0] for chatter in chatters] == [1012] * 6
        assert server.wait() == 0
        assert "Traceback" not in server.log


def test_hup_keeps_channels_epochs_and_offsets_and_clients_go_on(site: Site) -> None:
    server, ann = site.server, site.person("ann")
    for channel in ("lobby", "garden"):
        ann.create(channel)
    chatter, garden = ann.enter("lobby"), ann.enter("garden")
    for number in range(3):
        chatter.say(f"number {number}")
        last = chatter.hear("ack")
    old = worker_of(server)

    server.signal(signal.SIGHUP)
    code, reason = chatter.closing()
    garden.closing()
    until(lambda: _only_worker_is_not(server, old), "a new worker", detail=lambda: server.log)

    assert code == 1012
    assert RETRY.fullmatch(reason)
    again = ann.enter("lobby", query=f"?epoch={chatter.welcome['epoch']}&offset={last['offset']}")
    assert again.welcome["epoch"] == chatter.welcome["epoch"]
    assert again.welcome["offset"] == last["offset"] == 3
    assert again.welcome["recovered"] is True
    again.say("and on")
    assert again.hear("message")["offset"] == 4
    assert ann.enter("garden").welcome["epoch"] == garden.welcome["epoch"]
    names = [channel["name"] for channel in ann.request("GET", "/chat/channels").json["channels"]]
    assert names == ["garden", "lobby"]
    assert "Traceback" not in server.log


def _only_worker_is_not(server: Server, old: int) -> bool:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return len(children) == 1 and int(children[0]) != old


def test_after_kill_9_a_channel_goes_on_where_it_was(site: Site) -> None:
    server, ann = site.server, site.person("ann")
    ann.create("lobby")
    chatter = ann.enter("lobby")
    chatter.say("not forgotten")
    chatter.hear("ack")

    os.kill(worker_of(server), signal.SIGKILL)
    assert chatter.closing() == (1006, "")
    position = f"?epoch={chatter.welcome['epoch']}&offset=0"
    again = until(lambda: _enter(ann, "lobby", position), "a new worker", detail=lambda: server.log)

    assert (again.welcome["epoch"], again.welcome["offset"]) == (chatter.welcome["epoch"], 1)
    assert again.welcome["recovered"] is True
    assert again.hear("message")["text"] == "not forgotten"


def _enter(person: Person, channel: str, query: str = ""):
    try:
        return person.enter(channel, query=query)
    except OSError:
        return None


def test_a_second_server_waits_until_the_first_has_let_go(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "instance") as (first, _):
        command = [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:0", "wsgi:app"]
        with running(command, CHAT_INSTANCE=str(tmp_path / "instance")) as second:
            second.wait_for(rf"waits for process {worker_of(first)}, which has")
            place = Place(second.wait_for(LISTENING).group(1))
            first.stop()
            second.wait_for("goes on")

            assert until(lambda: _status(place) == 200, "an answer")


def _status(place: Place) -> int:
    try:
        return place.request("GET", "/readyz").status
    except OSError:
        return 0


def test_a_worker_that_is_told_to_end_before_it_has_begun_ends(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\nfrom web.websocket.worker import ChatWorker\n"
        "class Slow(ChatWorker):\n"
        "    def patch(self):\n        print('patching', flush=True)\n        time.sleep(0.3)\n        super().patch()\n"
    )
    # For so long gunicorn would wait for one that has not heard it, and then kill it.
    where = ["-b", "127.0.0.1:0", "--pythonpath", str(tmp_path), "-k", "slow.Slow", "--graceful-timeout", "300"]
    env = {"PYTHONPATH": str(tmp_path), "CHAT_INSTANCE": str(tmp_path / "instance")}
    with running([sys.executable, "-m", "gunicorn", *where, "wsgi:app"], **env) as server:
        server.wait_for("patching")
        server.signal(signal.SIGTERM)

        assert server.wait(40) == 0
    assert "Worker exiting" in server.log
    assert "Traceback" not in server.log


@pytest.mark.parametrize(
    ("args", "env", "sentence"),
    [
        (["-c", "/dev/null", "-k", WORKER, "-w", "2"], {}, "workers: 2 are asked for, but there is no CHAT_REDIS_URL"),
        ([], {"CHAT_MESSAGE_RATE": "fast"}, "CHAT_MESSAGE_RATE: a number is wanted, not 'fast'"),
        (
            [],
            {"CHAT_DATABASE_URL": "sqlite:////proc/nowhere/chat.sqlite"},
            "CHAT_DATABASE_URL: this database cannot be used",
        ),
    ],
)
def test_what_is_wrong_stops_the_start_with_a_sentence(
    tmp_path: Path, args: list[str], env: dict[str, str], sentence: str
) -> None:
    command = [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:0", *args, "wsgi:app"]
    with running(command, **{"CHAT_INSTANCE": str(tmp_path / "instance"), **env}) as server:
        status = server.wait()

    assert status != 0
    assert sentence in server.log
    assert "Traceback" not in server.log


def test_an_unknown_setting_is_warned_about_by_name(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "instance", CHAT_MESAGE_RATE="5") as (server, _):
        assert "CHAT_MESAGE_RATE is no setting and is ignored; did you mean CHAT_MESSAGE_RATE?" in server.log


def test_two_chats_in_one_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "twins.py").write_text(
        "from flask import Flask\nfrom web import Chat\n"
        "app, other = Flask('one'), Flask('two')\nchats = [Chat(app), Chat(other)]\n"
    )
    command = [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:0", "--pythonpath", str(tmp_path), "twins:app"]
    with running(command, CHAT_INSTANCE=str(tmp_path / "instance")) as server:
        assert server.wait() != 0

    assert "CHAT_INSTANCE: 2 chats use" in server.log
    assert "Traceback" not in server.log


def longest_line(person: Person) -> int:
    """Bytes of the longest request line about that of the setting that is not refused as too long."""
    around = len("GET / HTTP/1.1")
    return max(size for size in range(199, 203) if person.request("GET", "/" + "x" * (size - around)).status == 404)


def test_it_works_with_preload(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "instance", "--preload", CHAT_REQUEST_LINE="200") as (_, where):
        ann = Person(Place(where), "ann").register()
        assert longest_line(ann) == 200
        ann.create("lobby")
        chatter = ann.enter("lobby")
        chatter.say("hello")

        assert chatter.hear("message")["text"] == "hello"


def test_the_secret_key_is_kept_for_the_owner_alone(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "instance"):
        assert (tmp_path / "instance" / "secret_key").stat().st_mode & 0o777 == 0o600


def test_gevents_own_server_carries_the_chat_for_development(tmp_path: Path) -> None:
    command = [sys.executable, "wsgi.py", "--port", "0"]
    with running(command, CHAT_INSTANCE=str(tmp_path / "instance"), CHAT_REQUEST_LINE="200") as server:
        ann = Person(Place(server.wait_for(SERVING).group(1)), "ann").register()
        assert longest_line(ann) == 200
        ann.create("lobby")
        chatter = ann.enter("lobby")
        chatter.say("hello")
        assert chatter.hear("message")["text"] == "hello"

        server.signal(signal.SIGTERM)

        assert chatter.closing()[0] == 1012
        assert server.wait() == 0


def test_flasks_own_server_says_what_to_run_instead(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "run", "--port", "0"]
    with running(command, CHAT_INSTANCE=str(tmp_path / "instance")) as server:
        place = Place(server.wait_for(r"Running on (http://127.0.0.1:\d+)").group(1))
        ann = Person(place, "ann").register()
        page = ann.request("GET", "/chat/")

        assert page.status == 503
        assert "make run" in page.text
        assert "python wsgi.py" in page.text


def test_the_package_builds_with_its_templates_and_static_files(tmp_path: Path) -> None:
    source = tmp_path / "source"  # building leaves things behind
    shutil.copytree(
        TOP, source, ignore=shutil.ignore_patterns(".*", "instance", "tests", "node_modules", "build", "*.egg-info")
    )
    how = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index")  # with the setuptools that is here
    command = [sys.executable, "-m", "pip", "wheel", *how, "-w", str(tmp_path), str(source)]
    subprocess.run(command, check=True, timeout=100, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = subprocess.run([sys.executable, "-m", "zipfile", "-l", str(wheel)], check=True, capture_output=True, text=True)

    for name in ("chat/server.py", "web/templates/chat/page.html", "web/static/page.js", "web/py.typed", "chat/py.typed"):
        assert name in names.stdout
