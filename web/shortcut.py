"""The WebSocket's way in past Flask's dispatch, for CHAT_FAST_HANDSHAKE: the same decisions, without what is for pages.

What the application does around each request, from `before_request` to the session, is not done for a handshake then.
`authorize` is still called in an application context.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask
from werkzeug.sansio.utils import host_is_trusted

from chat.errors import ChatError
from web.answers import as_refusal
from web.door import admit
from web.host import Host
from web.settings import SettingError
from web.websocket.handshake import HandshakeError
from web.websocket.refusal import INTERNAL, Refusal
from web.websocket.upgrade import KEY, SWITCHING, Upgrade

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def add_shortcut(app: Flask, host: Host, path: str) -> None:
    """Answer handshakes at `path` ahead of `app`.

    Raises: SettingError when there is middleware around the application already: what it does to the environ, such as
    finding the address behind a proxy, would come too late.
    """
    inner = app.wsgi_app
    if getattr(inner, "__self__", None) is not app:
        raise SettingError("CHAT_FAST_HANDSHAKE: put middleware around app.wsgi_app only after Chat(app)")

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        upgrade = environ.get(KEY) if environ["PATH_INFO"] == path else None
        if not isinstance(upgrade, Upgrade) or not upgrade.requested or not _is_for_us(app, environ):
            return inner(environ, start_response)
        try:
            admit(host, environ, upgrade)
        except HandshakeError as refusal:
            return _refuse(refusal, start_response)
        except ChatError as error:
            return _refuse(as_refusal(error), start_response)
        except Exception:
            app.logger.exception("Exception on %s", path)  # what Flask would do
            return _refuse(INTERNAL, start_response)
        start_response(SWITCHING, [])
        return []

    app.wsgi_app = answer


def _is_for_us(app: Flask, environ: "WSGIEnvironment") -> bool:
    """Whether it is GET, and the application trusts the Host that was asked for; if not, Flask refuses it."""
    if environ["REQUEST_METHOD"] != "GET":
        return False
    trusted = app.config["TRUSTED_HOSTS"]
    return trusted is None or host_is_trusted(environ.get("HTTP_HOST"), trusted)


def _refuse(refusal: Refusal, start_response: "StartResponse") -> Iterable[bytes]:
    start_response(refusal.status_line, [*refusal.answer_headers(), ("Cache-Control", "no-store")])
    return [refusal.body]
