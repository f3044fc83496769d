"""Handshakes ahead of Flask; that they are decided alike is in test_handshakes.py and test_socket_route.py."""

from pathlib import Path

import pytest
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from tests.web.conftest import Dial, MakeHost, Serve
from tests.web.fakes import HANDSHAKE, Answer
from tests.web.site import close_site, make_site
from web.settings import SettingError


def shake(app: Flask, serve: Serve, dial: Dial, path: str = "/chat/ws", **headers: str) -> Answer:
    app.extensions["chat"].server.create_channel("lobby")
    token = app.extensions["chat"].server.request_token("ann", "lobby")
    caller = dial(serve(app))
    caller.request(f"{path}?token={token}", {**HANDSHAKE, **headers})
    return caller.answer()


@pytest.mark.parametrize(("fast", "seen"), [(False, ["/chat/ws"]), (True, [])])
def test_what_the_application_does_before_each_request_is_left_out_for_handshakes(
    make_host: MakeHost, serve: Serve, dial: Dial, fast: bool, seen: list[str]
) -> None:
    paths: list[str] = []

    def prepare(app: Flask) -> None:
        @app.before_request
        def note() -> None:
            from flask import request

            paths.append(request.path)

    app = make_host(prepare, FAST_HANDSHAKE=fast)

    assert shake(app, serve, dial).status == 101
    assert paths == seen


def test_other_requests_to_the_same_address_go_through_flask(make_host: MakeHost) -> None:
    app = make_host(lambda app: app.after_request(_mark), FAST_HANDSHAKE=True)

    answer = app.test_client().get("/chat/ws")

    assert (answer.status_code, answer.headers["X-Host"]) == (426, "seen")


def _mark(response):  # type: ignore[no-untyped-def]
    response.headers["X-Host"] = "seen"
    return response


def test_it_lies_under_any_prefix(make_host: MakeHost, serve: Serve, dial: Dial) -> None:
    seen: list[str] = []
    app = make_host(lambda app: app.before_request(lambda: seen.append("seen")), FAST_HANDSHAKE=True, url_prefix="/talk/")

    assert shake(app, serve, dial, "/talk/ws").status == 101
    assert seen == []


@pytest.mark.parametrize(("host", "status"), [("chat.test", 101), ("evil.test", 400)])
def test_a_host_that_the_application_does_not_trust_is_refused(
    make_host: MakeHost, serve: Serve, dial: Dial, host: str, status: int
) -> None:
    app = make_host(lambda app: app.config.update(TRUSTED_HOSTS=["chat.test"]), FAST_HANDSHAKE=True)

    assert shake(app, serve, dial, Host=host).status == status


def test_middleware_that_is_already_there_would_come_too_late_and_is_refused(make_host: MakeHost) -> None:
    def prepare(app: Flask) -> None:
        app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]

    with pytest.raises(SettingError, match="CHAT_FAST_HANDSHAKE: put middleware around"):
        make_host(prepare, FAST_HANDSHAKE=True)


def test_behind_a_proxy_the_standalone_site_believes_its_address_and_origin(
    tmp_path: Path, serve: Serve, dial: Dial
) -> None:
    app = make_site(tmp_path, CHAT_FAST_HANDSHAKE=True, CHAT_TRUSTED_PROXIES=1, CHAT_CONNECTIONS_PER_ADDRESS=1)
    behind = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "Origin": "https://chat.test"}
    try:
        assert shake(app, serve, dial, **behind).status == 101
        caller = dial(serve(app))
        caller.request("/chat/ws?token=none", {**HANDSHAKE, **behind})
        assert caller.answer().code == "too_many_connections"
    finally:
        close_site(app)
