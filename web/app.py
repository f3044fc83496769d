"""The standalone site: accounts, chat and error pages as one Flask application.

Making it touches nothing but the secret key: no hub, greenlet or database before the first request, because gunicorn may
make the application in its master (--preload) and fork afterwards.
"""

from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final

from flask import Flask, Response, make_response, redirect, render_template, request, url_for
from flask_login import LoginManager
from flask_wtf.csrf import CSRFError, CSRFProtect
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Response as BaseResponse

from chat.clock import Clock, SystemClock
from chat.database import Database
from chat.errors import ChatError
from web.account_commands import make_account_commands
from web.accounts import Accounts
from web.answers import headers_of, refusal, status_of
from web.cookies import SessionCookies
from web.extension import Chat
from web.logins import Logins
from web.metrics import Metrics
from web.passwords import Passwords
from web.routes.account import make_account
from web.routes.headers import guard, harden
from web.routes.health import make_health
from web.routes.login import Sessions, make_login
from web.routes.metrics import make_metrics
from web.schema import ACCOUNTS
from web.settings import database_url, secret_key
from web.slowdown import Slowdown

MAX_BODY: Final = 64 * 1024  # the longest form is two passwords of 1024 characters

# What a person can do about it, which the names of the statuses do not say.
ADVICE: Final[Mapping[int, str]] = {
    400: "The browser sent something that this page does not understand. Go back, reload the page and try again.",
    401: "This page is for users. Log in, and you will come back to it.",
    403: "You are not allowed to open this page.",
    404: "There is no page at this address. Check it for a typing mistake, or go to the chat.",
    405: "This address cannot be opened like that. Go to the chat, and use the buttons there.",
    413: "That was more than this page takes. Go back and send less.",
    429: "That was too much in too short a time. Nothing was done.",
    500: "Something went wrong on this side, and it is written to the log. Try again in a moment.",
    503: "The server has too much to do at this moment, or is about to restart.",
}
STALE_FORM: Final = (
    "This form belongs to an earlier visit, or the browser keeps no cookies, so nothing was done. "
    "Go back, reload the page and try again."
)
FOREIGN_FORM: Final = (
    "Over TLS this site takes forms only where the browser says that they come from it, and this time it did not. "
    "Let it send the Referer header, reload the page and try again. If nobody can send a form, the proxy in front "
    "does not pass on the address of this site."
)


def create_app(config: Mapping[str, object] | None = None, *, clock: Clock | None = None) -> Flask:
    """Make the application; `config` overrides the environment, `clock` what times logins.

    Raises: SettingError naming the setting.
    """
    # The blueprint `chat` brings what is static.
    app = Flask("web", static_folder=None, instance_path=str(Path("instance").absolute()))
    app.config.update(config or {})
    CSRFProtect(app)
    chat = Chat(app)
    _configure(app, chat)
    _add_accounts(app, chat, clock or SystemClock())
    _add_health(app, chat)
    app.add_url_rule("/", "root", _go_home)
    _add_error_pages(app)
    app.after_request(lambda response: _harden(response, chat.settings.hsts))
    return app


def _configure(app: Flask, chat: Chat) -> None:
    app.session_interface = SessionCookies(chat.socket_path)
    app.config.update(
        SECRET_KEY=secret_key(chat.settings),
        MAX_CONTENT_LENGTH=MAX_BODY,
        REMEMBER_COOKIE_NAME=";",  # what no cookie is called: one of flask-login's would take the place of ours
        WTF_CSRF_TIME_LIMIT=None,  # a page may stay open for days; its token is as old as its session anyway
    )
    if proxies := chat.settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=proxies)  # type: ignore[method-assign]


def _add_accounts(app: Flask, chat: Chat, clock: Clock) -> None:
    """Everything about users, which an embedding application brings itself."""
    lifetime, remembered = chat.settings.session_lifetime, chat.settings.remember_lifetime
    accounts = Accounts(lambda: chat.database, Passwords(), Slowdown(clock), clock)
    logins = Logins(
        lambda: chat.database,
        clock,
        chat.close_session,
        session_lifetime=lifetime,
        remember_lifetime=remembered,
        lifetime=chat.settings.login_lifetime,
    )
    sessions = Sessions(logins, remembered)
    # Without its context processor, which would ask the database for every error page.
    manager = LoginManager(app, add_context_processor=False)
    manager.session_protection = None  # a phone changes its address all day, and a login can be ended here
    sessions.watch(manager)
    app.register_blueprint(make_login(accounts, sessions, home=_home))
    app.register_blueprint(make_account(accounts, logins, sessions))
    app.extensions["accounts"] = accounts
    chat.schemas.append(ACCOUNTS)
    chat.companions.append(logins)
    app.cli.add_command(make_account_commands(lambda: Database(database_url(chat.settings), *chat.schemas), clock))


def _add_health(app: Flask, chat: Chat) -> None:
    """What the operator asks, which an embedding application answers as it likes."""
    metrics = Metrics(chat, lambda: chat.database)
    app.register_blueprint(make_health(chat))
    app.register_blueprint(make_metrics(metrics))
    chat.companions.append(metrics)


def _home() -> str:
    return url_for("chat.page")


def _go_home() -> BaseResponse:
    return redirect(_home(), 303)


def _harden(response: Response, max_age: int) -> Response:
    if request.is_secure and max_age:
        response.headers.setdefault("Strict-Transport-Security", f"max-age={max_age}")
    if response.mimetype != "text/html":
        return guard(response)
    response.headers.setdefault("Cache-Control", "no-store")
    return harden(response)


def _add_error_pages(app: Flask) -> None:
    app.register_error_handler(HTTPException, _answer)
    app.register_error_handler(ChatError, _answer_chat_error)


def _answer_chat_error(exc: ChatError) -> Response:
    """What a view could not deal with itself: a database that has gone, a server that is about to end."""
    status = status_of(exc)
    return _error(status, status.phrase, ADVICE.get(status, f"{exc}."), headers_of(exc))


def _answer(exc: HTTPException) -> BaseResponse:
    plain = exc.get_response()
    if exc.response is not None or exc.code is None or exc.code < 400:
        return plain  # a view's own answer, or a redirect
    advice = _about_form(exc) if isinstance(exc, CSRFError) else ADVICE.get(exc.code, exc.description or exc.name)
    kept = {name: value for name, value in plain.headers if name not in ("Content-Type", "Content-Length")}
    return _error(exc.code, exc.name, advice, kept)  # with Allow, or Retry-After


def _about_form(exc: CSRFError) -> str:
    """Flask-WTF has one class for all that can be wrong with a form, and a sentence for each."""
    return FOREIGN_FORM if str(exc.description).startswith("The referrer") else STALE_FORM


def _error(status: int, title: str, advice: str, headers: Mapping[str, str]) -> Response:
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        advice = f"{advice} Try again in {_wait(headers.get('Retry-After'))}."
    if _wants_json():
        return refusal(status, HTTPStatus(status).name.lower(), advice, headers)
    page = render_template(
        "chat/error.html", status=status, title=title, advice=advice, home=_home(), action=_action(status)
    )
    response = make_response(page, status)
    response.headers.update(headers)
    return response


def _wait(retry_after: str | None) -> str:
    """In words; a date, or nothing, says little."""
    if not retry_after or not retry_after.isdecimal():
        return "a moment"
    seconds = max(int(retry_after), 1)
    many, unit = (seconds, "second") if seconds < 120 else (-(-seconds // 60), "minute")
    return f"{many} {unit}" if many == 1 else f"{many} {unit}s"


def _action(status: int) -> dict[str, str]:
    """The nearest thing to do: logging in, the same again, or going to the chat."""
    here = request.full_path.rstrip("?") if request.method == "GET" else None
    if status == HTTPStatus.UNAUTHORIZED:
        return {"label": "Log in", "url": url_for("login.login", next=here)}
    if here is not None and status in (429, 500, 503):
        return {"label": "Try again", "url": here}
    return {"label": "Go to the chat", "url": _home()}


def _wants_json() -> bool:
    home = _home()
    if request.path.startswith(home) and request.path != home:
        return True
    return request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json"
