"""A disk that is full while people chat: what has to be written is refused in words, all else goes on, and it passes."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.people import Chatter, Person, Place
from tests.live.servers import gunicorn, until


class SmallDisk:
    """A file system of 2 MiB at `folder`, in memory."""

    def __init__(self, folder: Path) -> None:
        if os.geteuid() != 0:
            pytest.fail("root is wanted for this test, to mount a small file system", pytrace=False)
        self.folder = folder
        self._ballast = folder / "ballast"

    def mount(self) -> None:
        self.folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "chat", str(self.folder)], check=True, timeout=10)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True, timeout=10)

    def fill(self) -> None:
        """Leave no byte free."""
        with self._ballast.open("wb", buffering=0) as file:
            size = 2**16
            while size:
                try:
                    size = size if file.write(b"x" * size) else 0
                except OSError:
                    size //= 2

    def empty(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "instance")
    disk.mount()
    try:
        yield disk
    finally:
        disk.unmount()


def test_a_full_disk_costs_only_what_has_to_be_written(disk: SmallDisk) -> None:
    with gunicorn(disk.folder, CHAT_MESSAGE_RATE="0") as (server, where):
        ann, bob = (Person(Place(where), name).register() for name in ("ann", "bob"))
        ann.create("lobby")
        anns, bobs = ann.enter("lobby"), bob.enter("lobby")

        disk.fill()
        refused = until(lambda: _refused(ann), "the journal to be full", detail=lambda: server.log)

        assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        assert refused.json["error"]["code"] == "database_unavailable"
        server.wait_for("full")
        kept = 0  # a checkpoint may make room once more
        while (told := _answer(anns, "the disk is full " * 200))["type"] == "message":
            kept += 1
            assert bobs.hear("message")["id"] == told["id"]
        assert (told["code"], told["retry"]) == ("broker_unavailable", True)
        assert ann.request("GET", "/chat/channels").status == 200
        assert ann.request("GET", "/readyz").status == 200
        assert bob.enter("lobby").welcome["offset"] == kept
        page = Person(Place(where), "eve").submit("/register", username="eve", password="correct horse battery")
        assert page.status == 503

        disk.empty()

        assert ann.create("cellar").status == 201
        anns.say("there is room")
        assert bobs.hear("message")["text"] == "there is room"
        Person(Place(where), "eve").register()
        assert "Traceback" not in server.log


def _answer(wire: Chatter, text: str) -> dict[str, object]:
    id = wire.say(text)
    told = wire.hear("message", "error")
    assert told["id"] == id
    return told


def _refused(person: Person):
    """What is said when there is no room for one more channel; None while there is."""
    answer = person.create(f"room{os.urandom(8).hex()}")
    return None if answer.status == 201 else answer
