"""What README.md shows works as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

from tests.live.people import Person, Place
from tests.live.servers import TOP, gunicorn

BLOCKS = re.findall(r"```python\n(.*?)```", (TOP / "README.md").read_text(), re.DOTALL)


def test_the_core_alone(tmp_path: Path) -> None:
    (core,) = (block for block in BLOCKS if "ChatServer" in block)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(TOP)!r})\n{core}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert [line.partition(" > ")[2] for line in done.stdout.splitlines()] == ["ann entered lobby!", "ann: hello"]
    assert done.stderr == ""


def test_the_application_with_users_of_its_own(tmp_path: Path) -> None:
    (application,) = (block for block in BLOCKS if "Flask(" in block)
    (tmp_path / "yourmodule.py").write_text(application)
    args = ("-k", "web.websocket.worker.ChatWorker", "--pythonpath", str(tmp_path))
    with gunicorn(tmp_path / "instance", *args, app="yourmodule:app") as (_, where):
        ann = Person(Place(where), "ann")
        assert ann.submit("/", name="ann").headers["Location"] == "/chat/"
        ann.create("lobby")
        chatter = ann.enter("lobby")
        chatter.say("hello")

        assert chatter.hear("message")["text"] == "hello"
        assert ann.request("GET", "/chat/").status == 200
        assert Person(Place(where), "nobody").request("GET", "/chat/").status == 401
