"""`python -m tests.resume`: thousands that are cut off at once miss 20 messages each, come back at once, and miss none.

--count 5000   how many

First the lines are cut; then the server is killed too, so that what was missed is in the database alone.  All texts are
compared.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from tests.live.crowd import Client, Crowd
from tests.live.mortal import Mortal
from tests.live.people import Chatter, Place
from tests.live.servers import until
from tests.soak.meter import processor

CHANNELS = 5
MISSED = 20
SETTINGS = {"CHAT_TOKEN_DEADLINE": "600"}


@dataclass(frozen=True, slots=True)
class Return:
    """How one return of all of them went, in seconds."""

    after: str
    took: float
    """Until the last one had heard everything."""
    server: float
    """Of a core, which the server's process has used."""


class Stage:
    """The server, and who is there; token i is for channel `i % CHANNELS`."""

    def __init__(self, folder: Path, count: int) -> None:
        self._count = count
        self._path = folder / "tokens"
        minting = {"MINT_COUNT": str(2 * (count + CHANNELS)), "MINT_CHANNELS": str(CHANNELS), "MINT_PATH": str(self._path)}
        config = ("-c", "bench/site.conf.py")
        self.server = Mortal(folder / "instance", *config, app="bench.site:app", **minting, **SETTINGS)
        self._tokens: list[str] = []
        self._crowd: Crowd
        self._said = 0

    def open(self) -> None:
        """All come, and nothing has been said yet."""
        self._read_tokens()
        self._crowd = self._make_crowd([])
        self._crowd.connect()
        self._crowd.wait(lambda client: bool(client.texts))

    def lose_everybody(self) -> list[str]:
        """Cut all lines at once, say something in each channel, and return with which queries they come back."""
        stops = [_stop(client) for client in self._crowd.clients]
        self._crowd.reset()
        for number in range(CHANNELS):
            self._speak(number)
        self._said += MISSED
        return stops

    def kill(self) -> None:
        """And start it anew; it has other tokens then."""
        self._path.unlink()
        self.server.kill()
        self.server.start()
        self._read_tokens()

    def bring_back(self, stops: Sequence[str], after: str) -> Return:
        """All of them at once, and compare what they hear."""
        began, used = time.monotonic(), processor(self.server.worker)
        self._crowd = self._make_crowd(stops)
        self._crowd.connect(self._count)
        self._crowd.wait(lambda client: bool(client.texts))
        for client in self._crowd.clients:
            assert '"recovered":true' in client.texts[0], client.texts[0]
        self._crowd.wait(lambda client: sum(map(_is_message, client.texts)) >= MISSED)
        took, used = time.monotonic() - began, processor(self.server.worker) - used
        for number, client in enumerate(self._crowd.clients):
            self._compare(number % CHANNELS, client)
        return Return(after, took, used)

    def close(self) -> None:
        self._crowd.close()

    def _read_tokens(self) -> None:
        until(self._path.exists, "tokens", detail=lambda: self.server.server.log)
        self._tokens = self._path.read_text().split()

    def _take_tokens(self, count: int) -> list[str]:
        """Of a multiple of `CHANNELS` the first is for the first channel."""
        taken, self._tokens = self._tokens[:count], self._tokens[count:]
        return taken

    def _make_crowd(self, stops: Sequence[str]) -> Crowd:
        where = self.server.url.replace("http", "ws") + "/chat/ws"
        return Crowd(where, self._take_tokens(self._count), subprotocol="chat.v1", stops=stops)

    def _speak(self, number: int) -> None:
        (token,) = self._take_tokens(1)
        socket = Place(self.server.url).websocket("/chat/ws", subprotocols=["chat.v1", f"chat.token.{token}"])
        speaker = Chatter(socket, f"room{number}")
        for text in self._texts(number, self._said):
            speaker.say(text)
            speaker.hear("ack")
        speaker.close()

    def _texts(self, number: int, before: int) -> list[str]:
        return [f"room{number} has said {before + place}" for place in range(1, MISSED + 1)]

    def _compare(self, number: int, client: Client) -> None:
        """Before this return `_said` messages were said in its channel, the last `MISSED` of which it has missed."""
        welcome, *frames = [
            frame for frame in map(msgspec.json.decode, client.texts) if frame["type"] in ("welcome", "message")
        ]
        before = self._said - MISSED
        assert welcome["offset"] == self._said, welcome
        heard = [(frame["channel"], frame["offset"], frame["text"]) for frame in frames]
        assert heard == [
            (f"room{number}", before + place, text) for place, text in enumerate(self._texts(number, before), 1)
        ]


def _is_message(text: str) -> bool:
    return text.startswith('{"type":"message"')


def _stop(client: Client) -> str:
    """The query with which it comes back, after what it has heard."""
    frames = [msgspec.json.decode(text) for text in client.texts if _is_message(text) or "welcome" in text]
    welcome, *messages = frames
    offset = messages[-1]["offset"] if messages else welcome["offset"]
    return "?" + urlencode({"epoch": welcome["epoch"], "offset": offset})


def resume(folder: Path, count: int) -> list[Return]:
    """`count`, a multiple of `CHANNELS`, come back from a cut, and from a cut with a server that was killed meanwhile.

    Raises: AssertionError, when somebody has not heard what was said, or is told that it cannot be had.
    """
    stage = Stage(folder, count)
    with stage.server:
        stage.open()
        returns = [stage.bring_back(stage.lose_everybody(), "a cut")]
        stops = stage.lose_everybody()
        stage.kill()
        returns.append(stage.bring_back(stops, "a cut and kill -9"))
        stage.close()
    assert not any("Traceback" in log for log in stage.server.logs), stage.server.logs
    return returns


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=5000)
    count = parser.parse_args().count
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder:
        for back in resume(Path(folder), count):
            print(
                f"after {back.after}: {count} came back at once and heard the {MISSED} messages that they had missed; "
                f"{back.took:.1f} s, of which the server's process used {back.server:.1f} s"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
