"""Users of a running site: they register and log in over HTTP, and chat over an independent client."""

import asyncio
import http.client
import json
import re
import secrets
import socket
import ssl
from collections.abc import Awaitable
from contextlib import suppress
from http.cookies import SimpleCookie
from typing import Any, ClassVar
from urllib.parse import urlencode, urlsplit

from websockets.asyncio.client import connect as async_connect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect, unix_connect

PASSWORD = "correct horse battery"
PATIENCE = 10.0
CSRF = re.compile(r'name="csrf_token" (?:type="hidden" )?value="([^"]+)"')


class OneThread:
    """The asyncio client, asked one thing at a time.  The other one reads in a thread of its own, and until Python 3.13 to
    read and write over TLS in two threads may corrupt the process's memory."""

    opened: ClassVar[list["OneThread"]] = []

    def __init__(self, uri: str, **kwargs: Any) -> None:
        kwargs.pop("legacy")
        self._loop = asyncio.new_event_loop()
        self.opened.append(self)
        self._socket = self._run(async_connect(uri, max_queue=None, **kwargs))

    @classmethod
    def close_all(cls) -> None:
        """After a test."""
        while cls.opened:
            cls.opened.pop().end()

    def end(self) -> None:
        if hasattr(self, "_socket"):
            self.close()
        self._run(asyncio.sleep(0))  # transports close in the loop's next turn
        self._loop.close()

    def _run(self, work: Awaitable[Any]) -> Any:
        async def bounded() -> Any:
            return await asyncio.wait_for(work, PATIENCE)

        return self._loop.run_until_complete(bounded())

    def send(self, text: str) -> None:
        self._run(self._socket.send(text))

    def recv(self, _timeout: float) -> str:
        text: str = self._run(self._socket.recv())
        return text

    def close(self) -> None:
        self._run(self._socket.close())

    @property
    def compresses(self) -> bool:
        """The server agreed to permessage-deflate."""
        return bool(self._socket.protocol.extensions)

    @property
    def close_code(self) -> int | None:
        return self._socket.close_code

    @property
    def close_reason(self) -> str | None:
        return self._socket.close_reason


class Answer:
    """What came back from one request."""

    def __init__(self, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Place:
    """Where a site is: TCP, TLS, or a unix socket."""

    def __init__(self, where: str, *, prefix: str = "/chat", tls: ssl.SSLContext | None = None) -> None:
        self.where = where
        self.prefix = prefix
        self._tls = tls

    @property
    def netloc(self) -> str:
        return "localhost" if self.where.startswith("unix:") else urlsplit(self.where).netloc

    @property
    def origin(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.netloc}"

    def http(self) -> http.client.HTTPConnection:
        if self.where.startswith("unix:"):
            connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(PATIENCE)
            connection.sock.connect(self.where.removeprefix("unix:"))
            return connection
        if self._tls:
            return http.client.HTTPSConnection(self.netloc, timeout=PATIENCE, context=self._tls)
        return http.client.HTTPConnection(self.netloc, timeout=PATIENCE)

    def request(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        connection = self.http()
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def websocket(self, path: str, **kwargs: Any) -> "ClientConnection | OneThread":
        kwargs = {
            "proxy": None,
            "open_timeout": PATIENCE,
            "ping_interval": None,
            "compression": None,
            "legacy": True,
            **kwargs,
        }
        if self.where.startswith("unix:"):
            kwargs.pop("proxy")
            return unix_connect(self.where.removeprefix("unix:"), uri=f"ws://localhost{path}", **kwargs)
        if self._tls:
            return OneThread(f"wss://{self.netloc}{path}", ssl=self._tls, **kwargs)
        return connect(f"ws://{self.netloc}{path}", **kwargs)


class Person:
    """One user with a cookie jar; `agent` is what the browser says that it is."""

    def __init__(self, place: Place, name: str, *, agent: str = "") -> None:
        self.place = place
        self.name = name
        self._agent = agent
        self._cookies: dict[str, str] = {}

    @property
    def cookies(self) -> dict[str, str]:
        """By name; for a browser that goes on in this session."""
        return dict(self._cookies)

    def keep(self, name: str, value: str) -> None:
        """Have a cookie, whoever gave it."""
        self._cookies[name] = value

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if self._agent:
            headers["User-Agent"] = self._agent
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        answer = self.place.request(method, path, body, headers)
        for line in answer.headers.get_all("Set-Cookie", []):
            for name, morsel in SimpleCookie(line).items():
                self._cookies[name] = morsel.value
        return answer

    def submit(self, path: str, *, page: str = "", **fields: str) -> Answer:
        """Fill in the form on `page`, which is sent to `path`."""
        found = CSRF.search(self.request("GET", page or path).text)
        if found:
            fields["csrf_token"] = found.group(1)
        headers = {"Content_Type": "application/x-www-form-urlencoded", "Referer": self.place.origin + path}
        return self.request("POST", path, urlencode(fields).encode(), **headers)

    def register(self) -> "Person":
        answer = self.submit("/register", username=self.name, password=PASSWORD)
        assert answer.status == 303, answer.text
        return self

    def log_in(self) -> "Person":
        answer = self.submit("/login", username=self.name, password=PASSWORD)
        assert answer.status == 303, answer.text
        return self

    def log_out(self) -> None:
        """By the form on the chat page."""
        found = CSRF.search(self.request("GET", f"{self.place.prefix}/").text)
        assert found is not None
        fields = urlencode({"csrf_token": found.group(1)}).encode()
        headers = {"Content_Type": "application/x-www-form-urlencoded", "Referer": f"{self.place.origin}/chat/"}
        assert self.request("POST", "/logout", fields, **headers).status == 303

    def post(self, path: str, body: object) -> Answer:
        return self.request("POST", self.place.prefix + path, json.dumps(body).encode(), Content_Type="application/json")

    def create(self, channel: str) -> Answer:
        return self.post("/channels", {"name": channel})

    def token(self, channel: str) -> str:
        answer = self.post("/token", {"channel": channel})
        assert answer.status == 200, answer.text
        token: str = answer.json["token"]
        return token

    def enter(self, channel: str, *, query: str = "", compression: str | None = None) -> "Chatter":
        """Over chat.v1."""
        protocols = ["chat.v1", f"chat.token.{self.token(channel)}"]
        socket = self.place.websocket(
            f"{self.place.prefix}/ws{query}", subprotocols=protocols, origin=self.place.origin, compression=compression
        )
        return Chatter(socket, channel)

    def enter_plain(self, channel: str) -> "Listener":
        headers = {"Authorization": f"Bearer {self.token(channel)}"}
        return Listener(self.place.websocket(f"{self.place.prefix}/ws", additional_headers=headers))


class Listener:
    """A plain text client."""

    def __init__(self, socket: ClientConnection | OneThread) -> None:
        self.socket = socket

    def say(self, text: str) -> None:
        self.socket.send(text)

    def hear(self) -> str:
        """The next line without its date."""
        line = self.socket.recv(PATIENCE)
        assert isinstance(line, str)
        return line.partition(" > ")[2]

    def close(self) -> None:
        self.socket.close()


class Chatter:
    """A chat.v1 client."""

    def __init__(self, socket: ClientConnection, channel: str) -> None:
        self.socket = socket
        self.channel = channel
        self.welcome = self.hear("welcome")

    def say(self, text: str, **more: str) -> str:
        """Publish, and return the id, which nobody else has, on another connection or in a run before."""
        id = secrets.token_hex(12)
        self.send(type="publish", channel=self.channel, id=id, text=text, **more)
        return id

    def ask(self, **request: object) -> dict[str, Any]:
        """Ask for something here, and return its answer, which must not be a refusal."""
        self.send(channel=self.channel, id=secrets.token_hex(12), **request)
        answer = self.hear("ack", "error")
        assert answer["type"] == "ack", answer
        return answer

    def send(self, **frame: object) -> None:
        self.socket.send(json.dumps(frame))

    def hear(self, *kinds: str) -> dict[str, Any]:
        """The next frame of one of these kinds; others are passed over."""
        while True:
            frame: dict[str, Any] = json.loads(self.socket.recv(PATIENCE))
            if frame["type"] in kinds:
                return frame

    def hear_the_rest(self) -> list[dict[str, Any]]:
        """All frames until the end."""
        frames = []
        with suppress(ConnectionClosed):
            while True:
                frames.append(json.loads(self.socket.recv(PATIENCE)))
        return frames

    def closing(self) -> tuple[int, str]:
        """The code and the reason of the close frame that ends it."""
        self.hear_the_rest()
        return self.socket.close_code or 1006, self.socket.close_reason or ""

    def close(self) -> None:
        self.socket.close()
