"""The opening handshake, as pure functions over the WSGI environ.

The table of refusals is ours: `websockets` would answer an unknown version with 400 and a missing Connection with 426, and
it refuses a client that offers only subprotocols we do not know.  See RFC 6455 section 4.2.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Collection, Mapping
from itertools import starmap
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from websockets.exceptions import InvalidHandshake, NegotiationError
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.headers import build_extension, parse_extension
from websockets.utils import accept_key

from web.websocket.deflate import LEVEL, MEMORY, WINDOW_BITS
from web.websocket.refusal import Refusal

Environ: TypeAlias = Mapping[str, object]
Headers: TypeAlias = list[tuple[str, str]]

VERSION: Final = "13"

# What RFC 9110 section 5.6.2 calls a token.
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PORTS: Final = {"http": 80, "https": 443}
_DEFLATE: Final = ServerPerMessageDeflateFactory(
    server_no_context_takeover=True,
    client_no_context_takeover=True,
    compress_settings={"level": LEVEL, "memLevel": MEMORY},
)
_SMALL_WINDOWS: Final = frozenset(map(str, range(8, WINDOW_BITS)))


class HandshakeError(Refusal):
    """The request is no acceptable handshake; answer it as plain HTTP."""


def requested(environ: Environ) -> bool:
    """Tell whether the client asks for a WebSocket at all, well formed or not."""
    return _names(environ, "HTTP_UPGRADE", "websocket")


def check(environ: Environ) -> None:
    """Make sure the request is a handshake that we can answer.  Raises: HandshakeError, 400 or 426."""
    fault = _fault(environ)
    if fault:
        raise HandshakeError(400, "bad_handshake", fault)
    if _text(environ, "HTTP_SEC_WEBSOCKET_VERSION") != VERSION:
        headers = {"Upgrade": "websocket", "Sec-WebSocket-Version": VERSION}
        raise HandshakeError(426, "bad_version", "only version 13 of the WebSocket protocol is spoken here", headers)


def _fault(environ: Environ) -> str:
    """Say what is malformed, "" when nothing is."""
    if environ.get("REQUEST_METHOD") != "GET":
        return "the method is not GET"
    if environ.get("SERVER_PROTOCOL") != "HTTP/1.1":
        return "the protocol is not HTTP/1.1"
    if not _text(environ, "HTTP_HOST"):
        return "there is no Host"
    if not requested(environ) or not _names(environ, "HTTP_CONNECTION", "upgrade"):
        return "no upgrade to a WebSocket is asked for"
    if _text(environ, "CONTENT_LENGTH") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in environ:
        return "there is a body"
    if not _is_key(_text(environ, "HTTP_SEC_WEBSOCKET_KEY")):
        return "Sec-WebSocket-Key is missing or wrong"
    return ""


def _is_key(key: str) -> bool:
    """Sixteen bytes in base64.  A doubled header reads `a,b`, and a comma is not base64."""
    try:
        return len(b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        return False


def accept_headers(environ: Environ, subprotocol: str | None, extensions: str | None) -> Headers:
    """Make the headers of the 101 for a request that passed `check`."""
    headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept_key(_text(environ, "HTTP_SEC_WEBSOCKET_KEY"))),
    ]
    if subprotocol is not None:
        headers.append(("Sec-WebSocket-Protocol", subprotocol))
    if extensions is not None:
        headers.append(("Sec-WebSocket-Extensions", extensions))
    return headers


def offered_subprotocols(environ: Environ) -> list[str]:
    """Return what the client offers, in its order, without what is no token."""
    if "HTTP_SEC_WEBSOCKET_PROTOCOL" not in environ:
        return []
    return [name for name in _list(environ, "HTTP_SEC_WEBSOCKET_PROTOCOL") if _TOKEN.fullmatch(name)]


def negotiate_deflate(environ: Environ, *, shared: bool) -> tuple[str | None, list[Extension]]:
    """Agree on permessage-deflate (RFC 7692) where the client offers a kind that we speak; else on nothing.

    Returns our header and what does it.  Always without context takeover: an idle connection keeps no window.  `shared`
    also declines offers that want our window smaller than `WINDOW_BITS`, so that one compressed copy does for everybody.
    """
    offers = _text(environ, "HTTP_SEC_WEBSOCKET_EXTENSIONS")
    if not offers:
        return None, []
    try:
        parsed = parse_extension(offers)
    except InvalidHandshake:
        return None, []
    for name, parameters in parsed:
        if name != _DEFLATE.name or (shared and any(starmap(_is_too_small, parameters))):
            continue
        try:
            agreed, extension = _DEFLATE.process_request_params(parameters, [])
        except NegotiationError:
            continue
        return build_extension([(name, agreed)]), [extension]
    return None, []


def _is_too_small(parameter: str, bits: str | None) -> bool:
    """Whether that wants our window smaller than those of the copies that are shared."""
    return parameter == "server_max_window_bits" and bits in _SMALL_WINDOWS


def check_origin(environ: Environ, allowed: Collection[str]) -> None:
    """Make sure no foreign page opens this connection: a browser sends our cookies along.

    `allowed` are origins beside the request's own, such as `https://chat.example`.  Without the header it is no browser,
    and has no cookies of ours.  Raises: HandshakeError, 403.
    """
    origin = environ.get("HTTP_ORIGIN")
    if origin is None:
        return
    asked = _normalise(str(origin))
    if asked is None or asked not in {_own_origin(environ), *map(_normalise, allowed)}:
        raise HandshakeError(403, "foreign_origin", "this origin may not connect here")


def _own_origin(environ: Environ) -> str | None:
    return _normalise(f"{environ.get('wsgi.url_scheme')}://{environ.get('HTTP_HOST')}")


def _normalise(origin: str) -> str | None:
    """Return scheme, host and port of an origin in one spelling; None for `null`, two of them, or anything else.

    RFC 6454 section 4.
    """
    try:
        parts = urlsplit(origin.strip())
        port = parts.port
    except ValueError:
        return None
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    if scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or "@" in parts.netloc:
        return None
    if parts.query or parts.fragment or "," in parts.netloc or " " in parts.netloc:
        return None
    return f"{scheme}://{parts.hostname}:{port or _PORTS[scheme]}"


def _text(environ: Environ, key: str) -> str:
    value = environ.get(key, "")
    return value.strip() if isinstance(value, str) else ""


def _names(environ: Environ, key: str, option: str) -> bool:
    """Whether a list of options has this one."""
    value = _text(environ, key).lower()
    return value == option or option in (item.strip() for item in value.split(","))


def _list(environ: Environ, key: str) -> list[str]:
    return [item for item in (item.strip() for item in _text(environ, key).split(",")) if item]
