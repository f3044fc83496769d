"""pywsgi's request loop, with limits and deadlines on what comes before the application.

pywsgi waits for ever for a request to end, and writes what it did not understand into the error log, where a token has no
business.  gunicorn's `limit_request_*` do not reach it.
"""

import errno
import logging
import time
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import gevent
from gevent import pywsgi
from gevent.socket import SHUT_WR
from gevent.ssl import SSLSocket
from geventwebsocket.handler import WebSocketHandler as _GeventWebSocketHandler

from chat.turn import yield_turn
from web.websocket.body import TOO_LARGE, Body
from web.websocket.deadline import at_most
from web.websocket.head import BLANK, BadRequest, Head, end_of_head, read_head
from web.websocket.limits import HttpLimits
from web.websocket.pace import Pace
from web.websocket.redact import redact
from web.websocket.refusal import INTERNAL, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import OptExcInfo
    from _typeshed.wsgi import WSGIEnvironment

    class _Base(pywsgi.WSGIHandler):
        """What the stubs leave out."""

        code: int
        _orig_status: str | None

else:
    _Base = _GeventWebSocketHandler

_LOGGER: Final = logging.getLogger("web.websocket")
_LINGER: Final = 1.0  # seconds in which a refused client can still read why


class _Headers:
    """What pywsgi and gunicorn ask of the headers they believe to have read."""

    __slots__ = ("_head", "typeheader")

    def __init__(self, head: Head) -> None:
        self._head = head
        self.typeheader = head.variables.get("CONTENT_TYPE")

    def getheader(self, name: str) -> str | None:
        return self._head.variables.get(name.upper().replace("-", "_"))  # content-length; no other is asked for

    def items(self) -> list[tuple[str, str]]:
        return self._head.headers


class HttpHandler(_Base):
    """One HTTP connection.  `limits` are its settings; override them in a subclass.

    gevent-websocket's handler is a base by name only: its own `run_application`, `start_response` and `log_request` are
    jumped over, to whatever comes after it, so that gunicorn's handler may be mixed in.
    """

    limits: ClassVar[HttpLimits] = HttpLimits()

    _head: Head = BLANK
    _body: Body | None = None
    _pace: Pace | None = None  # of the answer
    _unread = False  # of the body
    _served = False  # a request, on this connection
    _came_whole = False  # the head, in what was read first
    _came_alone = False  # with nothing behind it

    # pywsgi calls these.

    def handle_one_request(self) -> Literal[True] | None:
        """Serve one request; True asks for the next one on this connection."""
        if self.rfile.closed or not self._wait_for_request():
            return None
        self.response_length = 0
        self._pace = None
        self.time_start = time.time()
        try:
            self._read_request()
        except Refusal as refusal:
            self._refuse(refusal)
            return None
        except (OSError, EOFError):  # hung up in the middle
            return None
        self._served = True
        self.environ = self.get_environ()
        self.application = self.server.application
        self.handle_one_response()
        if self._unread:
            with suppress(OSError):
                self._hang_up()
        return None if self.close_connection or self.rfile.closed else True

    def _headers(self) -> Iterable[tuple[str, str]]:
        return [(key, value) for key, value in self._head.variables.items() if key.startswith("HTTP_")]

    def get_environ(self) -> "WSGIEnvironment":
        environ = super().get_environ()
        self._body = None
        if self.wsgi_input.content_length or self.wsgi_input.chunked_input:  # type: ignore[union-attr]
            self._body = self.wsgi_input.rfile = Body(self.rfile, self.limits)  # type: ignore[union-attr]
        return environ

    def run_application(self) -> None:
        try:
            super(_Base, self).run_application()
        finally:
            self._discard_body()

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: "OptExcInfo | None" = None
    ) -> "Callable[[bytes], None]":
        if self._body is not None and self._body.fault is not None:
            raise self._body.fault  # in place of what the application makes of it
        return super(_Base, self).start_response(status, headers, exc_info)

    def log_request(self) -> None:
        super(_Base, self).log_request()

    def format_request(self) -> str:
        line = self.requestline
        self.requestline = redact(line or "")
        try:
            return super().format_request()
        finally:
            self.requestline = line

    def _sendall(self, data: bytes) -> None:
        """In place of gevent's, which gives all of `data` the time that one piece may take."""
        pace = self._pace = self._pace or Pace(self.limits)
        rest = memoryview(data)
        try:
            while rest:
                with pace:
                    sent = self.socket.send(rest)
                pace.earn(sent)
                self.response_length += sent
                rest = rest[sent:]
        except OSError as exc:
            # A client that went, or reads too slowly, is not worth a traceback: pywsgi ignores EPIPE.
            raise BrokenPipeError(errno.EPIPE, "the client has gone") from exc

    def _send_at_once(self, data: bytes) -> None:
        """Send what is short enough to go whole; sendall() would begin by asking how large the buffer is."""
        try:
            sent = self.socket.send(data)
        except OSError as exc:
            raise BrokenPipeError(errno.EPIPE, "the client has gone") from exc
        self.response_length += sent
        if sent < len(data):
            self._sendall(data[sent:])

    def _connection_upgrade_requested(self) -> bool:
        # pywsgi would hand the raw stream to the application, where a read() never ends.
        return False

    def _handle_client_error(self, ex: Exception) -> None:
        """A body that is not what it claims to be; pywsgi would log what was in it."""
        _LOGGER.info("a request from %s could not be read: %s", self._peer(), type(ex).__name__)

    def _send_error_response_if_possible(self, error_code: int) -> None:
        self.close_connection = True
        if not self.response_length:
            with suppress(OSError):
                self._answer(self._fault(error_code))

    def _fault(self, error_code: int) -> Refusal:
        if self._body is not None and self._body.fault is not None:
            return self._body.fault
        return BadRequest(400, "bad_request", "the body is malformed") if error_code == 400 else INTERNAL

    # Reading the head.

    def _wait_for_request(self) -> bool:
        """Wait for the first byte; False when none comes.  Who connects means to ask something now."""
        limits = self.limits
        seconds = limits.keepalive if self._served else limits.header_timeout
        is_tls = isinstance(self.socket, SSLSocket)  # there the socket's own timeout begins anew with each byte of a record
        try:
            self.socket.settimeout(seconds)
            with gevent.Timeout(seconds, TimeoutError()) if is_tls else nullcontext():
                came = self.rfile.peek(1)
            self.socket.settimeout(limits.io_timeout)
        except OSError:
            return False
        size = end_of_head(came)
        self._came_whole, self._came_alone = size > 0, 0 < size == len(came)
        return bool(came)

    def _read_request(self) -> None:
        with nullcontext() if self._came_whole else self._deadline():
            self._head = head = read_head(self.rfile, self.limits)
        if getattr(self.server, "draining", False):
            raise Refusal(503, "draining", "the server is about to stop; try again", {"Retry-After": "1"})
        self._tell_pywsgi(head)

    def _deadline(self) -> gevent.Timeout:
        late = BadRequest(408, "request_timeout", "the request took too long to arrive")
        return gevent.Timeout(self.limits.header_timeout, late)

    def _tell_pywsgi(self, head: Head) -> None:
        """Leave what its `read_request` would have found."""
        self.requestline, self.command, self.path, self.request_version = head[:4]
        self.headers = _Headers(head)  # type: ignore[assignment]  # all of it that is used
        length = head.variables.get("CONTENT_LENGTH")
        self.content_length = None if length is None else int(length)  # type: ignore[assignment]  # the stubs know no None
        if self.content_length and head.method == "HEAD":
            raise BadRequest(400, "bad_request", "the request is malformed")
        if self.content_length and self.content_length > self.limits.max_body:
            raise TOO_LARGE
        options = [option.strip() for option in head.variables.get("HTTP_CONNECTION", "").lower().split(",")]
        self.close_connection = "close" in options or (head.version == "HTTP/1.0" and "keep-alive" not in options)

    def _discard_body(self) -> None:
        """Read what the application left of the body, or give the connection up."""
        body = self.wsgi_input
        if self._body is None:
            return
        with at_most(self.limits.discard_timeout), suppress(OSError, ValueError):
            body._discard()  # type: ignore[union-attr]
            return
        self.close_connection = self._unread = True
        body._chunked_input_error = True  # type: ignore[union-attr]  # so pywsgi does not try again

    # Refusing.

    def _refuse(self, refusal: Refusal) -> None:
        """Answer without the application.  Nothing of the request is kept, for it would be logged."""
        self._head = BLANK
        self._tell_pywsgi(BLANK)
        self.environ = self._blank_environ()
        self.status = self.result = None
        self.headers_sent = self.response_use_chunked = False
        with suppress(OSError):
            self._answer(refusal)
        self.time_finish = time.time()
        self.log_request()
        with suppress(OSError):
            self._hang_up()

    def _answer(self, refusal: Refusal) -> None:
        super(_Base, self).start_response(refusal.status_line, refusal.answer_headers())
        HttpHandler.write(self, refusal.body)

    def _hang_up(self) -> None:
        """Shut down writing and read on: to close with unread input would reset, and lose the answer."""
        self.socket.shutdown(SHUT_WR)
        with at_most(_LINGER):
            while self.socket.recv(8192):
                yield_turn()

    def _blank_environ(self) -> "WSGIEnvironment":
        """What gunicorn's access log needs to find."""
        environ = self.server.get_environ()
        blank = {"REQUEST_METHOD": "-", "RAW_URI": "-", "PATH_INFO": "-", "QUERY_STRING": "", "SERVER_PROTOCOL": "-"}
        environ.update(blank, REMOTE_ADDR=self._peer())
        return environ

    def _peer(self) -> str:
        return str(self.client_address[0]) if isinstance(self.client_address, tuple) else ""
