"""What the errors of the core are in HTTP: one table of statuses, one form of JSON."""

from collections.abc import Mapping
from http import HTTPStatus
from math import ceil
from typing import Final

from flask import Response, jsonify, make_response

from chat.errors import (
    BadRequest,
    BadText,
    ChannelClosed,
    ChatError,
    DuplicatedChannel,
    Forbidden,
    IdleChannel,
    InvalidChannel,
    InvalidToken,
    InvalidUser,
    RateLimited,
    ServerClosed,
    UserAlreadyConnected,
)
from web.websocket.refusal import Refusal

# A class that is not named has the status of the nearest one above it.
STATUS: Final[Mapping[type[ChatError], HTTPStatus]] = {
    BadRequest: HTTPStatus.BAD_REQUEST,
    BadText: HTTPStatus.BAD_REQUEST,
    InvalidUser: HTTPStatus.BAD_REQUEST,
    InvalidToken: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    InvalidChannel: HTTPStatus.NOT_FOUND,
    IdleChannel: HTTPStatus.GONE,
    ChannelClosed: HTTPStatus.GONE,
    DuplicatedChannel: HTTPStatus.CONFLICT,
    UserAlreadyConnected: HTTPStatus.CONFLICT,
    RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    ServerClosed: HTTPStatus.SERVICE_UNAVAILABLE,
}
RETRY_AFTER: Final = 1.0  # seconds, where the error does not say


def refusal(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """`{"error": {"code", "message"}}`."""
    response = make_response(jsonify(error={"code": code, "message": message}), status)
    response.headers.update(headers or {})
    response.headers["Cache-Control"] = "no-store"
    return response


def status_of(error: ChatError) -> HTTPStatus:
    """The status for `error`: what the table says, or whether trying again may help."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return HTTPStatus.SERVICE_UNAVAILABLE if error.retry else HTTPStatus.INTERNAL_SERVER_ERROR


def answer(error: ChatError) -> Response:
    """What is sent for `error`."""
    return refusal(status_of(error), error.code, str(error), headers_of(error))


def as_refusal(error: ChatError) -> Refusal:
    """The same, for what answers without Flask."""
    return Refusal(status_of(error), error.code, str(error), headers_of(error))


def headers_of(error: ChatError) -> dict[str, str]:
    """The headers for `error`: when to try again, where waiting is all that is wanted."""
    if status_of(error) not in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        return {}
    wait = error.retry_after if isinstance(error, RateLimited) else 0.0
    return {"Retry-After": str(ceil(wait or RETRY_AFTER))}
