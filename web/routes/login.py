"""Register, log in and log out: the standalone site's three forms.

A session is a signed cookie.  It is made anew at each login, so that nothing planted in it before survives, and it gets a
random id, `session["sid"]`, which rides in the connection tokens: that is how logging out finds the sockets to close.
"""

import secrets
from collections.abc import Callable
from typing import Final
from unicodedata import category
from urllib.parse import urlsplit

from flask import Blueprint, Response, make_response, redirect, render_template, request, session, url_for
from flask_login import current_user, login_user, logout_user
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response as BaseResponse
from wtforms import PasswordField, StringField
from wtforms.validators import InputRequired

from chat.errors import ChatError, DatabaseUnavailable, InvalidUser
from chat.names import MAX_NAME
from web.accounts import Account, Accounts, NameTaken, WrongLogin
from web.passwords import MAX_LENGTH, MIN_LENGTH, TooManyLogins, WeakPassword

RETRY_AFTER: Final = 5  # seconds; a full queue of hashes is worked off in less than one

NO_NAME: Final = "Enter your user name."
NO_PASSWORD: Final = "Enter your password."  # noqa: S105 -- a sentence about one
WRONG_LOGIN: Final = "There is no account with this name and this password. Check both and try again."
NAME_TAKEN: Final = "This name is taken. Choose another one, or log in if it is yours."
WEAK_PASSWORD: Final = f"Choose a password of at least {MIN_LENGTH} characters, and at most {MAX_LENGTH}."
BUSY: Final = "Too many people are logging in at this moment. Nothing was changed; try again in a few seconds."
UNAVAILABLE: Final = "The accounts cannot be reached at this moment. Try again in a few seconds."


class AccountForm(FlaskForm):  # type: ignore[misc]  # flask-wtf has no types
    """A name and a password.  White space around a name is a phone keyboard's doing."""

    username = StringField(validators=[InputRequired(NO_NAME)], filters=[lambda text: text and text.strip()])
    password = PasswordField(validators=[InputRequired(NO_PASSWORD)])


def make_login(accounts: Accounts, home: Callable[[], str], on_logout: Callable[[str], None]) -> Blueprint:
    """Return the blueprint `login`; `home` is where to go afterwards, `on_logout` gets the `sid` that has ended."""
    blueprint = Blueprint("login", __name__)

    @blueprint.route("/login", methods=["GET", "POST"])
    def login() -> BaseResponse:
        return _form("login", accounts.verify, home)

    @blueprint.route("/register", methods=["GET", "POST"])
    def register() -> BaseResponse:
        return _form("register", accounts.register, home)

    @blueprint.post("/logout")
    def logout() -> BaseResponse:
        sid = session.get("sid")
        logout_user()
        session.clear()
        if isinstance(sid, str):
            on_logout(sid)
        return redirect(url_for("login.login"), 303)

    return blueprint


def _form(name: str, get_account: Callable[[str, str], Account], home: Callable[[], str]) -> BaseResponse:
    """Show a form, or take it and go on."""
    target = local_target(request.args.get("next")) or home()
    if current_user.is_authenticated:
        return redirect(target, 303)
    form = AccountForm(request.form)
    if not form.validate_on_submit():
        return _show(name, form, 400 if form.is_submitted() else 200)
    try:
        account = get_account(form.username.data, form.password.data)
    except ChatError as exc:
        return _show(name, form, _explain(form, exc))
    _start_session(account)
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
    response = make_response(page, status)
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


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
            form.username.errors.append(f"Nobody can be called that: it {exc.why}.")
            return 400
        case WeakPassword():
            form.password.errors.append(WEAK_PASSWORD)
            return 400
        case TooManyLogins() | DatabaseUnavailable():
            form.form_errors.append(BUSY if isinstance(exc, TooManyLogins) else UNAVAILABLE)
            return 503
    raise exc


def _start_session(account: Account) -> None:
    session.clear()
    session["sid"] = secrets.token_urlsafe(16)
    login_user(account)


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
