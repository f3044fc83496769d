"""What the errors of the core are in HTTP: one table of statuses, one form of JSON."""

from collections.abc import Mapping
from http import HTTPStatus
from math import ceil
from typing import Final

from flask import Response, jsonify, make_response

from chat.errors import (
    BadRequest,
    BadText,
    BrokerUnavailable,
    ChannelBusy,
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
from web.websocket.census import TooManyConnections

# A class that is not named has the status of the nearest one above it; the root is a fault of ours.
STATUS: Final[Mapping[type[ChatError], HTTPStatus]] = {
    ChatError: HTTPStatus.INTERNAL_SERVER_ERROR,
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
    ChannelBusy: HTTPStatus.SERVICE_UNAVAILABLE,
    BrokerUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    TooManyConnections: HTTPStatus.SERVICE_UNAVAILABLE,
}
RETRY_AFTER: Final = 1.0  # seconds, where the error does not say


def refusal(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """`{"error": {"code", "message"}}`."""
    response = make_response(jsonify(error={"code": code, "message": message}), status)
    response.headers.update(headers or {})
    response.headers["Cache-Control"] = "no-store"
    return response


def answer(error: ChatError) -> Response:
    """What is sent for `error`."""
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    headers = {}
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        wait = error.retry_after if isinstance(error, RateLimited) else 0.0
        headers["Retry-After"] = str(ceil(wait or RETRY_AFTER))
    return refusal(status, error.code, str(error), headers)
