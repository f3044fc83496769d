"""The standalone site: login, chat and error pages as one Flask application.

Making it touches nothing but the secret key: no hub, greenlet or database before the first request, because gunicorn may
make the application in its master (--preload) and fork afterwards.
"""

from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final

from flask import Flask, Response, jsonify, make_response, redirect, render_template, request, url_for
from flask_login import LoginManager
from flask_wtf.csrf import CSRFError, CSRFProtect
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Response as BaseResponse

from chat.errors import ChatError
from web.accounts import Account, Accounts
from web.answers import status_of
from web.extension import Chat
from web.passwords import Passwords
from web.routes.health import make_health
from web.routes.login import RETRY_AFTER, make_login
from web.routes.page import harden
from web.schema import ACCOUNTS
from web.settings import Settings, secret_key

MAX_BODY: Final = 64 * 1024  # the longest form is a name and a password of 1024 characters

# What a person can do about it, which the names of the statuses do not say.
ADVICE: Final[Mapping[int, str]] = {
    400: "The browser sent something that this page does not understand. Go back, reload the page and try again.",
    401: "Log in first, and then open this page again.",
    403: "You are not allowed to open this page.",
    404: "There is no page at this address. Check it for a typing mistake, or go to the chat.",
    405: "This address cannot be opened like that. Go to the chat, and use the buttons there.",
    413: "That was more than this page takes. Go back and send less.",
    429: "That was too much in too short a time. Wait a moment and try again.",
    500: "Something went wrong on this side, and it is written to the log. Try again in a moment.",
    503: "The server has too much to do at this moment. Try again in a few seconds.",
}
STALE_FORM: Final = (
    "This form belongs to an earlier visit, or the browser keeps no cookies, so nothing was done. "
    "Go back, reload the page and try again."
)


def create_app(config: Mapping[str, object] | None = None) -> Flask:
    """Make the application; `config` overrides the environment.

    Raises: SettingError naming the setting.
    """
    # The blueprint `chat` brings what is static.
    app = Flask("web", static_folder=None, instance_path=str(Path("instance").absolute()))
    app.config.update(config or {})
    CSRFProtect(app)
    chat = Chat(app)
    chat.schemas.append(ACCOUNTS)
    _configure(app, chat.settings)
    accounts = app.extensions["accounts"] = Accounts(lambda: chat.database, Passwords())
    _add_login_manager(app, accounts)
    app.register_blueprint(make_login(accounts, home=_home, on_logout=chat.close_session))
    app.register_blueprint(make_health(chat))
    app.add_url_rule("/", "root", _go_home)
    _add_error_pages(app)
    app.after_request(_harden)
    return app


def _configure(app: Flask, settings: Settings) -> None:
    app.config.update(
        SECRET_KEY=secret_key(settings),
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        MAX_CONTENT_LENGTH=MAX_BODY,
        WTF_CSRF_TIME_LIMIT=None,  # a page may stay open for days; its token is as old as its session anyway
    )
    if proxies := settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=proxies)  # type: ignore[method-assign]


def _add_login_manager(app: Flask, accounts: Accounts) -> None:
    # Without its context processor, which would ask the database for every error page.
    manager = LoginManager(app, add_context_processor=False)

    @manager.user_loader  # type: ignore[untyped-decorator]
    def load(id: str) -> Account | None:
        return accounts.get(int(id)) if id.isdecimal() else None


def _home() -> str:
    return url_for("chat.page")


def _go_home() -> BaseResponse:
    return redirect(_home(), 303)


def _harden(response: Response) -> Response:
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    if response.mimetype != "text/html":
        return response
    response.headers.setdefault("Cache-Control", "no-store")
    return harden(response)


def _add_error_pages(app: Flask) -> None:
    app.register_error_handler(HTTPException, _answer)
    app.register_error_handler(ChatError, _answer_chat_error)


def _answer_chat_error(exc: ChatError) -> Response:
    """What a view could not deal with itself: a database that has gone, a server that is about to end."""
    status = status_of(exc)
    response = _error(status, status.phrase, ADVICE[status])
    if exc.retry:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def _answer(exc: HTTPException) -> BaseResponse:
    plain = exc.get_response()
    if exc.response is not None or exc.code is None or exc.code < 400:
        return plain  # a view's own answer, or a redirect
    advice = STALE_FORM if isinstance(exc, CSRFError) else ADVICE.get(exc.code, exc.description or exc.name)
    response = _error(exc.code, exc.name, advice)
    for name, value in plain.headers:
        if name not in ("Content-Type", "Content-Length"):
            response.headers[name] = value  # Allow, Retry-After
    return response


def _error(status: int, title: str, advice: str) -> Response:
    if _wants_json():
        code = HTTPStatus(status).name.lower()
        return make_response(jsonify(error={"code": code, "message": advice}), status)
    return make_response(render_template("chat/error.html", title=title, advice=advice, home=_home()), status)


def _wants_json() -> bool:
    home = _home()
    if request.path.startswith(home) and request.path != home:
        return True
    return request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json"
