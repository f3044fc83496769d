"""HTTP to one site, keeping its cookies.

`http.client` speaks it, over sockets of gevent's, so nothing has to be patched.  A connection for each request: tokens are
asked for rarely, and one that was kept open would have to be tried, found dead and opened anew.
"""

import io
import ssl
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from http.cookies import CookieError, SimpleCookie
from typing import Final, NamedTuple

import gevent
import msgspec

from chat.client.address import Address
from chat.client.errors import Refused, Unreachable

DEADLINE: Final = 10.0  # seconds; a server that takes longer is as good as away
MAX_BODY: Final = 2**20  # bytes; a page of ours has 10 KB


class Answer(NamedTuple):
    """What HTTP answered; the names of the headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def json(self) -> object:
        """The body; None where it is no JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None

    @property
    def refusal(self) -> Refused:
        """Why it was not done."""
        match self.json:
            case {"error": {"code": str(code), "message": str(message)}}:
                pass
            case _:
                code, message = "refused", f"the server answered {self.status}"
        # What ended because nobody used it is there again once a token is asked for.
        retry = self.status == 429 or self.status >= 500 or code == "idle_channel"
        return Refused(code, message, retry=retry, status=self.status, retry_after=self._retry_after)

    @property
    def _retry_after(self) -> float | None:
        given = self.headers.get("retry-after", "")
        return float(given) if given.isascii() and given.isdecimal() else None


class _Lines(io.BufferedReader):
    """What `http.client` reads; to it a head that breaks off in the middle is a short one."""

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        if not line.endswith(b"\n") and len(line) != size:
            raise IncompleteRead(line)
        return line


class _Response(HTTPResponse):
    """One that breaks off is an error, wherever it does."""

    def begin(self) -> None:
        self.fp = _Lines(self.fp.detach())
        super().begin()

    def read(self, amt: int | None = None) -> bytes:
        body = super().read(amt)
        if self.length and len(body) != amt:  # which it passes over where there is an `amt`
            raise IncompleteRead(body, self.length)
        return body


class _Connection(HTTPConnection):
    response_class = _Response

    def __init__(self, address: Address, tls: ssl.SSLContext | None) -> None:
        super().__init__(address.origin.partition("//")[2])
        self._address = address
        self._tls = tls

    def connect(self) -> None:
        self.sock = self._address.dial(DEADLINE, self._tls)


class Browser:
    """What one user has open at one site."""

    def __init__(self, address: Address, tls: ssl.SSLContext | None = None) -> None:
        self.address = address
        self._tls = tls
        self._cookies: dict[str, str] = {}

    def get(self, path: str) -> Answer:
        """Blocks, for 10 seconds at most.  Raises: Unreachable."""
        return self._ask("GET", path, None, {})

    def post(self, path: str, body: bytes, content_type: str) -> Answer:
        """The same."""
        origin = self.address.origin
        # The referrer is what Flask-WTF goes by over TLS.
        return self._ask("POST", path, body, {"Content-Type": content_type, "Origin": origin, "Referer": f"{origin}{path}"})

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())} if self._cookies else {}
        connection = _Connection(self.address, self._tls)
        try:
            with gevent.Timeout(DEADLINE, TimeoutError(f"no answer within {DEADLINE:g} s")):
                connection.request(method, path, body, {"Connection": "close", **cookies, **headers})
                response = connection.getresponse()
                answer = Answer(
                    response.status, {name.lower(): value for name, value in response.getheaders()}, response.read(MAX_BODY)
                )
        except (OSError, HTTPException) as exc:
            raise Unreachable(self.address.origin, str(exc) or type(exc).__name__) from exc
        finally:
            connection.close()
        for line in response.headers.get_all("Set-Cookie", ()):
            self._keep(line)
        return answer

    def _keep(self, line: str) -> None:
        try:
            cookies = SimpleCookie(line)
        except CookieError:
            return
        for name, morsel in cookies.items():
            if morsel["max-age"] == "0" or not morsel.value:
                self._cookies.pop(name, None)
            else:
                self._cookies[name] = morsel.coded_value
