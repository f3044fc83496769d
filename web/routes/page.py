"""The browser page, and the headers that every HTML page of ours carries."""

import re
from pathlib import Path
from typing import Final

from flask import Blueprint, Response, current_app, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from web.host import Host

# What a Host header may hold before it is quoted in a policy; anything else could write a policy of its own.
HOST: Final = re.compile(r"[A-Za-z0-9._\-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?")

# Endpoints that the page links to where the application has them, as the standalone site does.
LOGIN: Final = "login.login"
LOGOUT: Final = "login.logout"
ACCOUNT: Final = "account.account"


def add_page(blueprint: Blueprint, host: Host) -> None:
    """Add the page at the blueprint's root, as endpoint `page`."""
    # Named in the page, so that a browser fetches them all at once and not import by import.
    modules = sorted(path.name for path in Path(str(blueprint.static_folder)).glob("*.js"))

    @blueprint.get("/")
    def page() -> BaseResponse:
        if "web.websocket" not in request.environ:
            page = render_template("chat/no_websocket.html", standalone=_has(LOGIN))
            return harden(make_response(page, 503))
        username = host.identify()
        if username is None:
            return _ask_for_login()
        return harden(_show(username, host, modules))


def _show(username: str, host: Host, modules: list[str]) -> Response:
    root = url_for(".page")
    page = render_template(
        "chat/page.html",
        modules=modules,
        username=username,
        display_name=host.display_name() or "",
        ws=f"{root}ws",
        channels=f"{root}channels",
        token=f"{root}token",
        login=url_for(LOGIN, next=root) if _has(LOGIN) else "",
        logout=url_for(LOGOUT) if _has(LOGOUT) else "",
        account=url_for(ACCOUNT) if _has(ACCOUNT) else "",
        message_limit=host.settings.conf.max_message,
    )
    response = make_response(page)
    response.headers["Cache-Control"] = "no-store"  # it names the user: the next one must not get it by the back button
    return response


def _ask_for_login() -> BaseResponse:
    if not _has(LOGIN):
        return harden(make_response(render_template("chat/not_logged_in.html"), 401))
    return redirect(url_for(LOGIN, next=url_for(".page")), 303)


def _has(endpoint: str) -> bool:
    return endpoint in current_app.view_functions


def harden(response: Response) -> Response:
    """Set the headers that keep foreign code and foreign frames out, where the application has not set them itself."""
    response.headers.setdefault("Content-Security-Policy", _policy())
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    return response


def _policy() -> str:
    """Older Safaris do not count ws://host as 'self', so it is spelled out; both schemes, for we may not see the TLS."""
    host = request.host
    sockets = f" ws://{host} wss://{host}" if HOST.fullmatch(host) else ""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self'{sockets}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
