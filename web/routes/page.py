"""The browser page."""

from pathlib import Path
from typing import Final

from flask import Blueprint, Response, current_app, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from web.host import Host
from web.routes.headers import harden

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
