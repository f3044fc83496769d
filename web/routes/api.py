"""What all JSON routes have in common: who asks, from where, and with what body."""

from collections.abc import Callable
from functools import wraps
from typing import Final, ParamSpec, TypeVar

import msgspec
from flask import Response, request

from chat.errors import BadRequest, ChatError, Forbidden
from chat.requests import wrong_field
from web.answers import answer, refusal
from web.host import Host
from web.websocket.handshake import HandshakeError, check_origin

MAX_BODY: Final = 64 * 1024  # bytes; a name of 64 characters, escaped, is less than one

P = ParamSpec("P")
T = TypeVar("T")


class NotLoggedIn(ChatError):
    """The application does not know who asks."""

    code = "not_logged_in"
    text = "log in first"


def json_route(view: Callable[P, Response]) -> Callable[P, Response]:
    """Turn what `view` raises into JSON."""

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> Response:
        try:
            return view(*args, **kwargs)
        except NotLoggedIn as exc:
            return refusal(401, exc.code, str(exc))
        except HandshakeError as exc:
            return refusal(exc.status, exc.code, exc.message, exc.headers)
        except ChatError as exc:
            return answer(exc)

    return checked


def caller(host: Host) -> str:
    """Who asks, at this moment: to be called after `body`, for which a client can take hours in which its login ends.

    Raises: NotLoggedIn.
    """
    username = host.identify()
    if username is None:
        raise NotLoggedIn
    return username


def allow(host: Host, username: str, channel: str, action: str) -> None:
    """Raises: Forbidden."""
    if not host.may(username, channel, action):
        raise Forbidden


def body(kind: type[T], host: Host) -> T:
    """The request's body, for a route that changes something.

    A foreign page cannot send application/json with our cookies without asking first, which we never allow; the two
    headers are there to be sure.  That is why these routes need no CSRF token.

    Raises: BadRequest, HandshakeError (403), RequestEntityTooLarge.
    """
    check_origin(request.environ, host.settings.origins)
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise HandshakeError(403, "foreign_origin", "this origin may not do this here")
    if request.mimetype != "application/json":
        raise BadRequest("the content type application/json is wanted")
    request.max_content_length = MAX_BODY  # the application need not have a limit of its own
    try:
        return msgspec.json.decode(request.get_data(), type=kind)
    except (msgspec.MsgspecError, RecursionError, ValueError) as exc:
        why = wrong_field(exc) if isinstance(exc, msgspec.ValidationError) else "the body is no JSON"
        raise BadRequest(why) from exc
