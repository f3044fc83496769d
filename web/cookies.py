"""Cookies of the standalone site, as strict as the request allows.

Behind TLS they are Secure and begin with `__Host-`: a browser takes such a name only over TLS and only for this very host,
so that nobody on the network, and no other site of the domain, can plant one (RFC 6265bis, section 4.1.3.2).  Over plain
HTTP there is no such name.  Since the names differ, what came over plain HTTP is never believed over TLS.

The remember-me cookie is ours and not flask-login's: the name of that one, and whether it is Secure, is fixed in its
configuration, while ours go by the request; and it holds a signed user id, which is good for all devices until it runs
out, while a token of ours is one login, that can be ended by itself.
"""

from typing import Any

from flask import Flask, Request, Response, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from itsdangerous import TimestampSigner, URLSafeTimedSerializer

from web.websocket.handshake import requested


class _AgelessSigner(TimestampSigner):
    """Looks at the signature and not at its age.

    A login's end is in the database.  And when the clock is set back, the cookies of the time before come from the future,
    which is refused: everybody would be logged out.
    """

    def unsign(self, signed_value: str | bytes, max_age: int | None = None, return_timestamp: bool = False) -> Any:  # noqa: ARG002 (it is what is left out)
        return super().unsign(signed_value, return_timestamp=return_timestamp)  # type: ignore[call-overload]


class SessionCookies(SecureCookieSessionInterface):
    """Flask's signed sessions, in a cookie that fits the request."""

    def __init__(self, socket_path: str) -> None:
        """`socket_path` is where WebSockets come in."""
        self._socket_path = socket_path

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """None, which is nobody's session, for a handshake: it shows a token, and thousands may come at once."""
        is_handshake = request.path == self._socket_path and requested(request.environ)
        return None if is_handshake else super().open_session(app, request)

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        serializer = super().get_signing_serializer(app)
        if serializer is not None:
            serializer.signer = _AgelessSigner
        return serializer

    def get_cookie_name(self, app: Flask) -> str:  # noqa: ARG002 (Flask's signature)
        return _name("session")

    def get_cookie_domain(self, app: Flask) -> str | None:  # noqa: ARG002
        return None

    def get_cookie_path(self, app: Flask) -> str:  # noqa: ARG002
        return "/"

    def get_cookie_httponly(self, app: Flask) -> bool:  # noqa: ARG002
        return True

    def get_cookie_secure(self, app: Flask) -> bool:  # noqa: ARG002
        return request.is_secure

    def get_cookie_samesite(self, app: Flask) -> str:  # noqa: ARG002
        return "Lax"


def remember_token() -> str | None:
    """Return the token that the browser remembers a login by."""
    return request.cookies.get(_name("remember"))


def set_remember(response: Response, token: str, lifetime: float) -> None:
    """Have the browser keep `token` for `lifetime` seconds."""
    response.set_cookie(
        _name("remember"), token, max_age=int(lifetime), path="/", secure=request.is_secure, httponly=True, samesite="Lax"
    )


def forget_remember(response: Response) -> None:
    """Have the browser forget its token."""
    if remember_token() is not None:
        response.delete_cookie(_name("remember"), path="/", secure=request.is_secure, httponly=True, samesite="Lax")


def _name(name: str) -> str:
    return f"__Host-{name}" if request.is_secure else name
