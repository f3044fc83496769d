"""Register, log in and log out: the forms that a stranger meets.

The session is made anew at each login, so that nothing planted in it before survives, and names the login by its token.
"""

from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import Final
from unicodedata import category
from urllib.parse import urlsplit

from flask import (
    Blueprint,
    Response,
    after_this_request,
    make_response,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask_login import LoginManager, current_user, login_user
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response as BaseResponse
from wtforms import BooleanField, PasswordField, StringField
from wtforms.validators import InputRequired

from chat.errors import ChatError, DatabaseUnavailable, InvalidUser
from chat.names import MAX_NAME
from web.accounts import Account, Accounts, NameTaken, WrongLogin
from web.address import network
from web.cookies import forget_remember, remember_token, set_remember
from web.logins import Logins
from web.passwords import MAX_LENGTH, MIN_LENGTH, TooManyLogins, WeakPassword
from web.slowdown import TooManyAttempts

RETRY_AFTER: Final = 5  # seconds; a full queue of hashes is worked off in less than one

NO_NAME: Final = "Enter your user name."
NO_PASSWORD: Final = "Enter your password."  # noqa: S105 -- a sentence about one
WRONG_LOGIN: Final = "There is no account with this name and this password. Check both and try again."
IMPOSSIBLE_NAME: Final = "Nobody can be called that: it {}."
NAME_TAKEN: Final = "This name is taken. Choose another one, or log in if it is yours."
WRONG_LENGTH: Final = f"Choose a password of at least {MIN_LENGTH} characters, and at most {MAX_LENGTH}."
BUSY: Final = "Too many people are logging in at this moment. Nothing was changed; try again in a few seconds."
TOO_MANY: Final = "Too many attempts to log in are under way, so this one was not made. Try again in {} seconds."
UNAVAILABLE: Final = "The accounts cannot be reached at this moment. Try again in a few seconds."


class AccountForm(FlaskForm):  # type: ignore[misc]  # flask-wtf has no types
    """A name and a password.  White space around a name is a phone keyboard's doing."""

    username = StringField(validators=[InputRequired(NO_NAME)], filters=[lambda text: text and text.strip()])
    password = PasswordField(validators=[InputRequired(NO_PASSWORD)])
    remember = BooleanField()


class Sessions:
    """What a browser has of a login: the session, and the token that remembers it."""

    def __init__(self, logins: Logins, remember_lifetime: float) -> None:
        self._logins = logins
        self._remember_lifetime = remember_lifetime

    def start(self, account: Account, *, remember: bool) -> None:
        """Log in.  Blocks.  Raises: DatabaseUnavailable."""
        account = self._logins.start(account, request.user_agent.string, remember=remember)
        _renew(account)
        if remember:
            self._remember(account.token)

    def renew(self, account: Account, token: str) -> None:
        """Go on in the same login by a new token."""
        _renew(replace(account, token=token))
        if remember_token():
            self._remember(token)

    def end(self) -> None:
        """Log out.  Blocks.  Raises: DatabaseUnavailable; then nothing has changed."""
        if current_user.is_authenticated:
            self._logins.end(current_user.sid)
        self.leave()

    def leave(self) -> None:
        """Have the browser forget a login that has been ended."""
        session.clear()
        after_this_request(_forget)

    def watch(self, manager: LoginManager) -> None:
        """Tell flask-login who asks."""

        @manager.user_loader  # type: ignore[untyped-decorator]
        def find(token: str) -> Account | None:
            use = self._logins.find(token)
            if use is not None and use.is_noted and (kept := remember_token()):
                self._remember(kept)  # which then lasts as long as the login
            return None if use is None else use.account

        @manager.request_loader  # type: ignore[untyped-decorator]
        def recall(_request: object) -> Account | None:
            token = remember_token()
            use = self._logins.recall(token) if token else None
            if token is None or use is None:
                return None
            _renew(use.account)
            self._remember(token)
            return use.account

    def _remember(self, token: str) -> None:
        @after_this_request
        def remember(response: Response) -> Response:
            set_remember(response, token, self._remember_lifetime)
            return response


def _renew(account: Account) -> None:
    session.clear()
    session["sid"] = account.sid
    login_user(account)


def _forget(response: Response) -> Response:
    forget_remember(response)
    return response


def make_login(accounts: Accounts, sessions: Sessions, home: Callable[[], str]) -> Blueprint:
    """Return the blueprint `login`; `home` is where to go afterwards."""
    blueprint = Blueprint("login", __name__)

    @blueprint.route("/login", methods=["GET", "POST"])
    def login() -> BaseResponse:
        return _form("login", accounts.verify, sessions, home)

    @blueprint.route("/register", methods=["GET", "POST"])
    def register() -> BaseResponse:
        return _form("register", accounts.register, sessions, home)

    @blueprint.post("/logout")
    def logout() -> BaseResponse:
        sessions.end()
        return redirect(url_for("login.login"), 303)

    return blueprint


def _form(
    name: str, get_account: Callable[[str, str, str], Account], sessions: Sessions, home: Callable[[], str]
) -> BaseResponse:
    """Show a form, or take it and go on."""
    target = local_target(request.args.get("next")) or home()
    form = AccountForm(request.form)
    try:
        if current_user.is_authenticated:
            return redirect(target, 303)
        if not form.validate_on_submit():
            return _show(name, form, 400 if form.is_submitted() else 200)
        account = get_account(form.username.data, form.password.data, network(request.remote_addr))
        sessions.start(account, remember=form.remember.data)
    except ChatError as exc:
        return retry_later(_show(name, form, _explain(form, exc)), exc)
    return redirect(target, 303)


def _show(name: str, form: AccountForm, status: int) -> Response:
    page = render_template(
        f"chat/{name}.html",
        form=form,
        next=local_target(request.args.get("next")),
        max_name=MAX_NAME,
        min_password=MIN_LENGTH,
        max_password=MAX_LENGTH,
    )
    return make_response(page, status)


def _explain(form: AccountForm, exc: ChatError) -> int:
    """Put the sentence for `exc` where it belongs; return the status."""
    match exc:
        case WrongLogin():
            form.form_errors.append(WRONG_LOGIN)
            return 401
        case NameTaken():
            form.username.errors.append(NAME_TAKEN)
            return 409
        case InvalidUser():
            form.username.errors.append(IMPOSSIBLE_NAME.format(exc.why))
            return 400
        case WeakPassword():
            form.password.errors.append(weakness(exc))
            return 400
    return explain_busy(form, exc)


def weakness(exc: WeakPassword) -> str:
    """Return what is wrong with a password, and what to do about it."""
    return f"This password {exc.why}. Choose another one, such as four random words." if exc.why else WRONG_LENGTH


def explain_busy(form: FlaskForm, exc: ChatError) -> int:
    """Put the sentence for what may work later above the form; return the status.  Raises: `exc` if it is nothing such."""
    match exc:
        case TooManyAttempts():
            form.form_errors.append(TOO_MANY.format(ceil(exc.retry_after)))
            return 429
        case TooManyLogins() | DatabaseUnavailable():
            form.form_errors.append(BUSY if isinstance(exc, TooManyLogins) else UNAVAILABLE)
            return 503
    raise exc


def retry_later(response: Response, exc: ChatError) -> Response:
    """Say when to try again, where that may help."""
    if exc.retry:
        response.headers["Retry-After"] = str(ceil(getattr(exc, "retry_after", 0)) or RETRY_AFTER)
    return response


def local_target(target: str | None) -> str | None:
    """Return `target` if a browser cannot take it for another site's address, else None.

    Browsers read a backslash as a slash and drop tabs and line breaks (WHATWG URL, section 4.4).
    """
    if not target or not target.startswith("/") or target.startswith("//") or "\\" in target:
        return None
    if any(category(char) == "Cc" for char in target):
        return None
    try:
        parts = urlsplit(target)
    except ValueError:
        return None
    return None if parts.scheme or parts.netloc else target
