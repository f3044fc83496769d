"""Conversations as docs/protocol.md shows them: recorded from a real server, and held against one by a test.

Each block ```chat of the page is a conversation of its own, with a server of its own:

    ann connects to lobby [with epoch=E&offset=1]   over chat.v1; the channel is made where there is none
    ann is refused with 409 {...}                   in place of a connection
    ann > {...}                                     a frame of hers; `TOKEN ann ops` in it is a token of ann's for ops
    ann < {...}                                     the next frame that she gets
    ann is closed with 4503 reason                  the next thing that she gets
    ann hangs up
    ann asks GET /path                              over HTTP, answered by
    ann gets 200 {...}
    the server removes bob from lobby               likewise: closes lobby; starts anew

Lines that are indented go on with the one before.  `python -m tests.transcript` records them all anew: what is sent stays,
what comes is what came, but for dates, epochs and the like, which are made alike so that only what matters changes.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import gevent
from flask import Flask, request
from gevent import Timeout

from web.extension import Chat
from web.testing import Chatter, Refused, Site, serve

PAGE = Path(__file__).parents[1] / "docs" / "protocol.md"
BLOCK = re.compile(r"(?<=^```chat\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)
WIDTH = 118
QUIET = 0.05  # seconds in which nothing more may come when a conversation is over
VARIES = frozenset({"epoch", "date", "edited", "deleted", "token"})  # another text in each conversation

Json = object


class Differs(AssertionError):
    """What came is not what the page shows."""


def blocks(page: str) -> list[str]:
    """The conversations of the page."""
    return BLOCK.findall(page)


def lines(block: str) -> Iterator[str]:
    """One step each."""
    found: list[str] = []
    for line in block.splitlines():
        if line[:1].isspace():
            found[-1] += line.strip()
        elif line:
            found.append(line)
    return iter(found)


class Likeness:
    """Which text of the page stands for which of this conversation."""

    def __init__(self) -> None:
        self._of: dict[str, str] = {}

    def holds(self, shown: Json, came: Json, key: str = "") -> bool:
        """Whether `came` is what is shown, but for what varies; and that must vary alike everywhere."""
        if isinstance(shown, dict) and isinstance(came, dict):
            return shown.keys() == came.keys() and all(self.holds(shown[name], came[name], name) for name in shown)
        if isinstance(shown, list) and isinstance(came, list):
            return len(shown) == len(came) and all(map(self.holds, shown, came))
        if key in VARIES and isinstance(shown, str) and isinstance(came, str):
            return len(shown) == len(came) and self._of.setdefault(shown, came) == came
        return shown == came and type(shown) is type(came)

    def put_in(self, text: str) -> str:
        """`text` with what stands here in place of what is shown."""
        for shown, came in self._of.items():
            text = text.replace(shown, came)
        return text


class Conversation:
    """One block, spoken with a server."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._site = self._serve()
        self._people: dict[str, Chatter] = {}
        self._refused: dict[str, Refused] = {}
        self._answers: dict[str, str] = {}
        self.likeness = Likeness()

    def _serve(self) -> Site:
        app = Flask("conversation")
        app.config.update(SECRET_KEY="x", CHAT_INSTANCE=str(self._folder))
        Chat(app, identify=lambda: request.headers.get("X-User"), authorize=_may, duplicate_user="reject")
        return self._stack.enter_context(serve(app, database=None))

    def close(self) -> None:
        """End it, and see that nothing came that the page does not show."""
        try:
            for name, person in self._people.items():
                if more := _rest(person):
                    raise Differs(f"{name} got more than is shown: {more}")
        finally:
            self._stack.close()

    def abandon(self) -> None:
        """End it."""
        self._stack.close()

    def step(self, line: str) -> str | None:
        """Do what the line says; return what came, as the page would show it, None where nothing comes."""
        for pattern, act in STEPS.items():
            if match := re.fullmatch(pattern, line):
                return act(self, **match.groupdict())
        raise ValueError(f"this line is no step: {line}")

    def connect(self, who: str, channel: str, query: str | None) -> None:
        if channel not in self._site.server.channels():
            self._site.server.create_channel(channel)
        try:
            self._people[who] = person = Chatter(self._site.port, channel)
            self._stack.callback(person.hang_up)
            subprotocols = ["chat.v1", f"chat.token.{self._site.token(channel, who)}"]
            person.shake_hands(f"/chat/ws?{self.likeness.put_in(query or '')}", subprotocols=subprotocols)
        except Refused as refused:
            del self._people[who]
            self._refused[who] = refused

    def refused(self, who: str) -> str:
        answer = self._refused.pop(who).answer
        return f"{who} is refused with {answer.status} {answer.body.decode().strip()}"

    def say(self, who: str, frame: str) -> None:
        frame = re.sub(r"TOKEN (\w+) (\w+)", lambda found: self._token(*found.groups()), self.likeness.put_in(frame))
        self._people[who].say(frame)

    def _token(self, who: str, channel: str) -> str:
        if channel not in self._site.server.channels():
            self._site.server.create_channel(channel)
        return self._site.token(channel, who)

    def hear(self, who: str) -> str:
        return f"{who} < {self._people[who].text()}"

    def closed(self, who: str) -> str:
        closing = self._people.pop(who).closing()
        return f"{who} is closed with {closing.code} {closing.reason}".rstrip()

    def hang_up(self, who: str) -> None:
        self._people.pop(who).hang_up()

    def ask(self, who: str, path: str) -> None:
        response = self._site.client().get(path, headers={"X-User": who})
        self._answers[who] = f"{who} gets {response.status_code} {response.get_data(as_text=True).strip()}"

    def answer(self, who: str) -> str:
        return self._answers.pop(who)

    def remove(self, who: str, channel: str) -> None:
        self._site.server.get_channel(channel).remove_user(who)

    def end(self, channel: str) -> None:
        self._site.server.get_channel(channel).close()

    def restart(self) -> None:
        self._stack.close()
        self._people.clear()
        self._stack = ExitStack()
        self._site = self._serve()


STEPS: dict[str, Callable[..., str | None]] = {
    r"(?P<who>\w+) connects to (?P<channel>\w+)(?: with (?P<query>\S+))?": Conversation.connect,
    r"(?P<who>\w+) is refused with .*": Conversation.refused,
    r"(?P<who>\w+) > (?P<frame>.*)": Conversation.say,
    r"(?P<who>\w+) <.*": Conversation.hear,
    r"(?P<who>\w+) is closed with .*": Conversation.closed,
    r"(?P<who>\w+) hangs up": Conversation.hang_up,
    r"(?P<who>\w+) asks GET (?P<path>\S+)": Conversation.ask,
    r"(?P<who>\w+) gets .*": Conversation.answer,
    r"the server removes (?P<who>\w+) from (?P<channel>\w+)": Conversation.remove,
    r"the server closes (?P<channel>\w+)": Conversation.end,
    r"the server starts anew": Conversation.restart,
}


def _may(username: str, channel: str, action: str) -> bool:
    return username == "mod" if action == "moderate" else not (channel == "secret" and action == "history")


def _rest(person: Chatter) -> list[str]:
    found: list[str] = []
    with Timeout(QUIET, False):
        while True:
            found.append(person.text())
    return found


def parsed(line: str) -> tuple[str, Json]:
    """What stands before the JSON of a line, and the JSON."""
    start = line.find("{")
    return (line, None) if start < 0 else (line[:start], json.loads(line[start:]))


def replay(block: str, folder: Path) -> None:
    """Speak the block with a server.  Raises: Differs."""
    conversation = Conversation(folder)
    try:
        for line in lines(block):
            came = conversation.step(line)
            if came is None:
                continue
            (before, shown), (really, got) = parsed(line), parsed(came)
            if before != really or not conversation.likeness.holds(shown, got):
                raise Differs(f"shown: {line}\n came: {came}")
    except BaseException:
        conversation.abandon()
        raise
    conversation.close()


class Recorder:
    """Makes what varies alike in all recordings."""

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}
        self._days = datetime(2026, 1, 31, 12, tzinfo=UTC)

    def record(self, block: str, folder: Path) -> str:
        """The block with what comes now."""
        conversation = Conversation(folder)
        conversation.likeness.put_in = self._put_in  # type: ignore[method-assign]
        shown: list[str] = []
        try:
            for line in lines(block):
                came = conversation.step(line)
                shown.append(wrapped(line if came is None else self._told(came)))
        finally:
            conversation.abandon()
        return "\n".join(shown) + "\n"

    def _put_in(self, text: str) -> str:
        for came, shown in self._shown.items():
            text = text.replace(shown, came)
        return text

    def _told(self, line: str) -> str:
        before, got = parsed(line)
        if got is None:
            return line
        return before + json.dumps(self._alike(got), separators=(",", ":"), ensure_ascii=False)

    def _alike(self, came: Json, key: str = "") -> Json:
        if isinstance(came, dict):
            return {name: self._alike(value, name) for name, value in came.items()}
        if isinstance(came, list):
            return [self._alike(value) for value in came]
        if key in VARIES and isinstance(came, str):
            if came not in self._shown:
                self._shown[came] = self._new(came)
            return self._shown[came]
        return came

    def _new(self, came: str) -> str:
        if not came.endswith("Z"):
            return sha256(str(len(self._shown)).encode()).hexdigest()[: len(came)]
        self._days += timedelta(milliseconds=1234)
        return self._days.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def wrapped(line: str) -> str:
    """The line, broken between the members of its JSON where it is long."""
    rows = [""]
    for part in re.split(r'(?<=,)(?=["{])', line):
        if rows[-1] and len(rows[-1]) + len(part) > WIDTH:
            rows.append("      ")
        rows[-1] += part
    return "\n".join(rows)


def main() -> None:
    """Record the page anew."""

    def fresh(block: re.Match[str]) -> str:
        with TemporaryDirectory() as folder:
            return Recorder().record(block[0], Path(folder))

    PAGE.write_text(BLOCK.sub(fresh, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    gevent.spawn(main).get()
    sys.exit()
