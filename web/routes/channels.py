"""Channels over HTTP: which there are, and a new one."""

from typing import Final

import msgspec
from flask import Blueprint, Response, jsonify, make_response, request

from chat.archive import Unread
from chat.errors import BadRequest, InvalidChannel
from chat.names import check_channel_name
from web.host import Host
from web.routes.api import allow, body, caller, json_route

NOTHING: Final = Unread(0, 0)


class NewChannel(msgspec.Struct):
    """The body of `POST /channels`."""

    name: str


def add_channels(blueprint: Blueprint, host: Host) -> None:
    """Add `GET /channels` and `POST /channels`."""

    @blueprint.get("/channels")
    @json_route
    def list_channels() -> Response:
        username = caller(host)
        names = host.visible(username, host.server.channels())
        unread = host.server.unread(username, host.readable(username, names))
        counts = host.server.counts(names)
        response = jsonify(
            channels=[{"name": name, "count": counts[name], **unread.get(name, NOTHING)._asdict()} for name in names]
        )
        response.headers["Cache-Control"] = (
            "private, no-cache"  # pages ask every few seconds, and mostly nothing has changed
        )
        response.add_etag(weak=True)
        response.make_conditional(request)
        return response

    @blueprint.post("/channels")
    @json_route
    def create_channel() -> Response:
        name = _checked(body(NewChannel, host).name)
        username = caller(host)
        allow(host, username, name, "create")
        host.channels.spend(username)
        channel = host.server.create_channel(name, created_by=username)
        return make_response(jsonify(name=channel.name), 201)


def _checked(name: str) -> str:
    """A name that no channel can have is the caller's mistake: 400, where an unknown channel would be 404."""
    try:
        return check_channel_name(name)
    except InvalidChannel as exc:
        raise BadRequest(str(exc)) from exc
