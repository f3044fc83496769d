"""Tokens over HTTP: what a logged-in user needs to open a socket."""

import msgspec
from flask import Blueprint, Response, jsonify

from chat.names import check_channel_name
from web.host import Host
from web.routes.api import allow, body, caller, json_route


class TokenRequest(msgspec.Struct):
    """The body of `POST /token`."""

    channel: str


def add_tokens(blueprint: Blueprint, host: Host) -> None:
    """Add `POST /token`."""

    @blueprint.post("/token")
    @json_route
    def new_token() -> Response:
        name = check_channel_name(body(TokenRequest, host).channel)
        username = caller(host)
        allow(host, username, name, "join")
        host.tokens.spend(username)
        channel = host.server.get_channel(name)
        display_name = host.display_name()
        data: dict[str, object] | None = {"name": display_name} if display_name else None
        response = jsonify(
            token=host.server.request_token(username, channel.name, session=host.session(), data=data),
            channel=channel.name,
            username=username,
            expires_in=host.settings.conf.token_deadline,
            moderator=host.may(username, channel.name, "moderate"),
        )
        response.headers["Cache-Control"] = "no-store"
        return response
