"""The WebSocket's way in: everything that can be refused is refused here, as plain HTTP, before the 101.

In this order, so that a token is spent only when nothing else stands in the way: 400 malformed, 426 version, 403 origin,
503 full or draining, then the token, 401, and the name, 409.
"""

from typing import Final

from flask import Blueprint, Response, request

from chat.errors import BadRequest, Forbidden, InvalidToken
from chat.member import Resume
from chat.wire import SUBPROTOCOL
from web.answers import refusal
from web.host import Host
from web.routes.api import json_route
from web.websocket.census import TooManyConnections
from web.websocket.handshake import check, check_origin, offered_subprotocols, requested
from web.websocket.upgrade import KEY, Upgrade

TOKEN_PROTOCOL: Final = "chat.token."  # noqa: S105 (what comes before one)
MAX_WIRE: Final = 64 * 1024  # bytes of one message with what is around it
MAX_FRAGMENTS: Final = 1024

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
        token, resume = _token(), _resume(host.settings.resume_limit)
        check(request.environ)
        check_origin(request.environ, host.settings.origins)
        _admit(host, upgrade, token, resume)
        return Response(status=101)

    @blueprint.route("/ws", endpoint="not_ws")
    @json_route
    def not_ws() -> Response:
        if requested(request.environ):
            check(request.environ)  # it asks for a WebSocket, but not in full
        message = "this address speaks WebSocket only"
        return refusal(426, "upgrade_required", message, {"Upgrade": "websocket", "Connection": "Upgrade"})


def _admit(host: Host, upgrade: Upgrade, token: str, resume: Resume | None) -> None:
    """Take a place, spend the token, take the name; and have all given back if there is no socket in the end."""
    gate = host.gate
    address = request.remote_addr or ""
    if gate.draining:
        raise TooManyConnections("while the server restarts")
    gate.census.check(address)
    if not token:
        raise InvalidToken
    grant = host.server.redeem(token)
    if gate.has_ended(grant.session):
        raise InvalidToken
    rights = host.rights(grant.username, grant.channel)
    if "join" not in rights:
        raise Forbidden
    ticket = gate.census.enter(grant.username, address)
    try:
        member = host.server.reserve(grant, rights)
    except BaseException:  # a database that has gone, a greenlet that is killed
        gate.census.leave(ticket)
        raise
    v1 = SUBPROTOCOL in offered_subprotocols(request.environ)
    upgrade.accept(
        lambda socket: gate.enter(socket, member, ticket, v1=v1, resume=resume),
        on_abandoned=lambda: gate.turn_away(member, ticket),
        subprotocol=SUBPROTOCOL if v1 else None,
        write_buf=host.settings.conf.write_buf,
        read_buf=host.settings.conf.read_buf,
        max_message=MAX_WIRE,
        max_fragments=MAX_FRAGMENTS,
    )


def _token() -> str:
    """The token, "" when there is none.  Raises: BadRequest when it comes in more than one place."""
    found = request.args.getlist("token")
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        found.append(credentials.strip())
    offered = offered_subprotocols(request.environ)
    found += [name.removeprefix(TOKEN_PROTOCOL) for name in offered if name.startswith(TOKEN_PROTOCOL)]
    if len(found) > 1:
        raise BadRequest("the token comes in more than one place")
    return found[0] if found else ""


def _resume(limit: int) -> Resume | None:
    """Where a returning client stopped.  Raises: BadRequest."""
    epoch, offset = request.args.get("epoch"), request.args.get("offset")
    if epoch is None or offset is None:
        return None
    # isdecimal() alone would let other scripts' digits through; 18 digits are more than any log has.
    if not (offset.isascii() and offset.isdecimal() and len(offset) <= 18):
        raise BadRequest("offset: a whole number, 0 or more, is wanted")
    return Resume(epoch, int(offset), limit)
