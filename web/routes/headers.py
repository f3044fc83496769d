"""The headers that keep foreign code, foreign frames and guesses at content types out, wherever the host has set none."""

import re
from http import HTTPStatus
from typing import Final

from flask import Response, request

from web.websocket.refusal import GUARDS

# What a Host header may hold before it is quoted in a policy; anything else could write a policy of its own.
HOST: Final = re.compile(r"[A-Za-z0-9._\-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?")


def harden(response: Response) -> Response:
    """Set those of an HTML page, which may run our scripts and open our sockets."""
    response.headers.setdefault("Content-Security-Policy", _policy())
    response.headers.setdefault("Referrer-Policy", "same-origin")
    if request.is_secure:  # else browsers ignore it, and complain
        response.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    return guard(response)


def guard(response: Response) -> Response:
    """Set those of any answer, which is to be read by our pages and shown by itself as nothing but what it is."""
    if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
        return response  # a WebSocket's, which has headers of its own
    for name, value in GUARDS.items():
        response.headers.setdefault(name, value)
    return response


def _policy() -> str:
    """Older Safaris do not count ws://host as 'self', so it is spelled out; both schemes where we may not see the TLS."""
    host = request.host
    schemes = ("wss",) if request.is_secure else ("ws", "wss")
    sockets = "".join(f" {scheme}://{host}" for scheme in schemes) if HOST.fullmatch(host) else ""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self'{sockets}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
