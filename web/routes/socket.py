"""The WebSocket's address: what `web.door` decides, as a view of Flask's."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from flask import Blueprint, Response, request
from werkzeug.wsgi import ClosingIterator

from web.answers import refusal
from web.door import admit
from web.host import Host
from web.routes.api import json_route
from web.websocket.handshake import requested
from web.websocket.upgrade import KEY, SWITCHING, Upgrade

METHODS: Final = ("GET", "HEAD", "OPTIONS")  # all that a rule for WebSockets can have
OTHERS: Final = ("POST", "PUT", "PATCH", "DELETE")  # or the application answers, in its own words

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

NO_UPGRADE: Final = (
    "this server cannot carry WebSockets: run gunicorn -k web.websocket.worker.ChatWorker, "
    "or for development python wsgi.py"
)


def add_socket(blueprint: Blueprint, host: Host) -> None:
    """Add `GET /ws`."""

    # Werkzeug has a rule for WebSockets and one for all else, and is stricter than we are about which is which.
    @blueprint.route("/ws", websocket=True, methods=METHODS)
    @blueprint.route("/ws", endpoint="not_ws", methods=METHODS + OTHERS)
    @json_route
    def ws() -> Response:
        environ = request.environ
        if not requested(environ):
            return _refuse(request.method)
        upgrade = environ.get(KEY)
        if not isinstance(upgrade, Upgrade):
            return refusal(501, "no_websocket", NO_UPGRADE)
        admit(host, environ, upgrade)
        return _Switching(status=101)


def _refuse(method: str) -> Response:
    """What is no handshake at all."""
    message = "this address speaks WebSocket only"
    if method not in ("GET", "HEAD"):
        return refusal(405, "method_not_allowed", message, {"Allow": "GET"})
    return refusal(426, "upgrade_required", message, {"Upgrade": "websocket", "Connection": "Upgrade"})


class _Switching(Response):
    """101, whose headers are the handshake's: what would be put into this one is never sent."""

    default_mimetype = None

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if self.status_code != HTTPStatus.SWITCHING_PROTOCOLS:  # the application has thought better of it
            return super().__call__(environ, start_response)
        start_response(SWITCHING, [])
        return ClosingIterator((), self.close)
