"""Who may come in over a WebSocket, told from the WSGI environ alone: all that can be refused is refused before the 101.

In this order, so that a token is spent only when nothing else stands in the way: 400 malformed, 426 version, 403 origin,
503 full or draining, 429 too often, then the token, 401, and the name, 409.
"""

from typing import Final
from urllib.parse import parse_qs

from chat.errors import BadRequest, InvalidToken
from chat.member import Resume
from chat.wire import SUBPROTOCOL
from web.address import network
from web.host import Host
from web.websocket.census import TooManyConnections
from web.websocket.handshake import Environ, check, check_origin, offered_subprotocols
from web.websocket.upgrade import Upgrade

TOKEN_PROTOCOL: Final = "chat.token."  # noqa: S105 (what comes before one)
MAX_ARGUMENTS: Final = 100  # in a query string


def admit(host: Host, environ: Environ, upgrade: Upgrade) -> None:
    """Let the handshake in `environ` in: `upgrade` is accepted when this returns.  May block.

    Raises: HandshakeError; ChatError.
    """
    arguments = _arguments(str(environ.get("QUERY_STRING", "")))
    offered = offered_subprotocols(environ)
    token = _token(arguments, str(environ.get("HTTP_AUTHORIZATION", "")), offered)
    resume = _resume(arguments, host.settings.resume_limit)
    check(environ)
    check_origin(environ, host.settings.origins)
    _enter(host, upgrade, token, resume, network(str(environ.get("REMOTE_ADDR", ""))), v1=SUBPROTOCOL in offered)


def _enter(host: Host, upgrade: Upgrade, token: str, resume: Resume | None, address: str, *, v1: bool) -> None:
    """Take a place, spend the token, take the name; and have all given back if there is no socket in the end."""
    gate = host.gate
    if gate.draining:
        raise TooManyConnections("while the server restarts")
    gate.census.check(address)
    if address:
        host.handshakes.spend(address)
    if not token:
        raise InvalidToken
    grant = gate.redeem(token)
    ticket = gate.count(grant.username, address)
    try:
        member = gate.reserve(grant)
    except BaseException:  # not allowed, a database that has gone, a greenlet that is killed
        gate.census.leave(ticket)
        raise
    upgrade.accept(
        lambda socket: gate.enter(socket, member, ticket, v1=v1, resume=resume),
        on_abandoned=lambda: gate.turn_away(member, ticket),
        subprotocol=SUBPROTOCOL if v1 else None,
        bounds=gate.bounds,
        compression=host.settings.compression,
    )


def _arguments(query: str) -> dict[str, list[str]]:
    """What the query string says.  Raises: BadRequest."""
    if not query:
        return {}
    try:
        return parse_qs(query, keep_blank_values=True, max_num_fields=MAX_ARGUMENTS)
    except ValueError:
        raise BadRequest("the query string has too many fields") from None


def _token(arguments: dict[str, list[str]], authorization: str, offered: list[str]) -> str:
    """The token, "" when there is none.  Raises: BadRequest when it comes in more than one place."""
    found = list(arguments.get("token", ()))
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "bearer":
        found.append(credentials.strip())
    found += [name.removeprefix(TOKEN_PROTOCOL) for name in offered if name.startswith(TOKEN_PROTOCOL)]
    if len(found) > 1:
        raise BadRequest("the token comes in more than one place")
    return found[0] if found else ""


def _resume(arguments: dict[str, list[str]], limit: int) -> Resume | None:
    """Where a returning client stopped.  Raises: BadRequest."""
    if "epoch" not in arguments or "offset" not in arguments:
        return None
    epoch, offset = arguments["epoch"][0], arguments["offset"][0]
    # isdecimal() alone would let other scripts' digits through; 18 digits are more than any log has.
    if not (offset.isascii() and offset.isdecimal() and len(offset) <= 18):
        raise BadRequest("offset: a whole number, 0 or more, is wanted")
    return Resume(epoch, int(offset), limit)
