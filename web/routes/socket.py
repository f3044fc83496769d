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
from web.websocket.handshake import check, requested
from web.websocket.upgrade import KEY, SWITCHING, Upgrade

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

NO_UPGRADE: Final = (
    "this server cannot carry WebSockets: run gunicorn -k web.websocket.worker.ChatWorker, "
    "or for development python wsgi.py"
)


def add_socket(blueprint: Blueprint, host: Host) -> None:
    """Add `GET /ws`."""

    @blueprint.route("/ws", websocket=True)
    @json_route
    def ws() -> Response:
        upgrade = request.environ.get(KEY)
        if not isinstance(upgrade, Upgrade):
            return refusal(501, "no_websocket", NO_UPGRADE)
        admit(host, request.environ, upgrade)
        return _Switching(status=101)

    @blueprint.route("/ws", endpoint="not_ws")
    @json_route
    def not_ws() -> Response:
        if requested(request.environ):
            check(request.environ)  # it asks for a WebSocket, but not in full
        message = "this address speaks WebSocket only"
        return refusal(426, "upgrade_required", message, {"Upgrade": "websocket", "Connection": "Upgrade"})


class _Switching(Response):
    """101, whose headers are the handshake's: what would be put into this one is never sent."""

    default_mimetype = None

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if self.status_code != HTTPStatus.SWITCHING_PROTOCOLS:  # the application has thought better of it
            return super().__call__(environ, start_response)
        start_response(SWITCHING, [])
        return ClosingIterator((), self.close)
