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
    status = status_of(error)
    headers = {}
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        wait = error.retry_after if isinstance(error, RateLimited) else 0.0
        headers["Retry-After"] = str(ceil(wait or RETRY_AFTER))
    return refusal(status, error.code, str(error), headers)
