"""What was said in a channel, over HTTP: a page of its messages as they now are."""

import re
from typing import Final

import msgspec
from flask import Blueprint, Response, request

from chat.errors import BadRequest
from chat.frames import Told
from chat.names import check_channel_name
from chat.requests import PAGE, Offset, PageSize, wrong_field
from chat.wire import told
from web.host import Host
from web.routes.api import allow, caller, json_route

INTEGER: Final = re.compile(r"-?[0-9]{1,16}")  # as many digits as LAST_OFFSET has


class Asked(msgspec.Struct):
    """The query of `GET /channels/<name>/messages`."""

    before: Offset | None = None
    after: Offset | None = None
    limit: PageSize = PAGE


class Messages(msgspec.Struct):
    """Its answer: what chat.v1 answers to `history`, without what a socket needs."""

    channel: str
    events: list[Told]
    more: bool


def add_messages(blueprint: Blueprint, host: Host) -> None:
    """Add `GET /channels/<name>/messages`."""

    @blueprint.get("/channels/<name>/messages")
    @json_route
    def read_messages(name: str) -> Response:
        username = caller(host)
        name, asked = check_channel_name(name), _asked()
        for action in ("join", "history"):  # before it can be told whether there is such a channel
            allow(host, username, name, action)
        host.pages.spend(username)
        found, more = host.server.get_channel(name).history(asked.before, asked.after, asked.limit)
        page = Messages(name, [told(past) for past in found], more)
        response = Response(msgspec.json.encode(page), mimetype="application/json")
        response.headers["Cache-Control"] = "no-store"
        return response


def _asked() -> Asked:
    """Raises: BadRequest, saying which field is wrong."""
    query = {name: int(value) if INTEGER.fullmatch(value) else value for name, value in request.args.items()}
    try:
        asked = msgspec.convert(query, Asked)
    except msgspec.ValidationError as exc:
        raise BadRequest(wrong_field(exc)) from exc
    if asked.before is not None and asked.after is not None:
        raise BadRequest("before, after: at most one of them is wanted")
    return asked
