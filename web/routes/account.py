"""The page on which one changes one's account: display name, password, and where one is logged in.

It has several forms and one address, so that a form with an error in it comes back with the rest of the page; the field
`do` says which of them was sent.
"""

from collections.abc import Callable, Mapping
from typing import Final

from flask import Blueprint, Response, abort, flash, make_response, redirect, render_template, request, url_for
from flask_login import current_user
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response as BaseResponse
from wtforms import IntegerField, PasswordField, StringField
from wtforms.validators import InputRequired, NumberRange

from chat.errors import ChatError, InvalidUser
from chat.names import MAX_NAME
from web.accounts import Account, Accounts, NameTaken, WrongLogin
from web.address import network
from web.device import describe
from web.logins import Logins
from web.passwords import MAX_LENGTH, MIN_LENGTH, WeakPassword
from web.routes.login import IMPOSSIBLE_NAME, NO_PASSWORD, Sessions, explain_busy, retry_later, weakness

NO_NEW_PASSWORD: Final = "Enter a new password."  # noqa: S105 -- a sentence about one
WRONG_PASSWORD: Final = "This is not your password. Check it and try again."  # noqa: S105
NAME_TAKEN: Final = "This reads like the user name of somebody else. Choose another one."
NAME_SET: Final = "Others see your new display name from now on."
NAME_REMOVED: Final = "You have no display name any more; others see your user name."
PASSWORD_CHANGED: Final = "Your password is changed, and you are logged out everywhere else."  # noqa: S105
LOGIN_ENDED: Final = "That login has ended."
ALL_ENDED: Final = "You are logged out everywhere."


class DisplayNameForm(FlaskForm):  # type: ignore[misc]  # flask-wtf has no types
    """What others shall read; empty for nothing but the user name."""

    display_name = StringField(filters=[lambda text: (text or "").strip()])


class PasswordForm(FlaskForm):  # type: ignore[misc]
    """The old password, for the browser may have been left alone, and the new one."""

    current = PasswordField(validators=[InputRequired(NO_PASSWORD)])
    new = PasswordField(validators=[InputRequired(NO_NEW_PASSWORD)])


class EndForm(FlaskForm):  # type: ignore[misc]
    """One login."""

    login = IntegerField(validators=[InputRequired(), NumberRange(1, 2**31 - 1)])  # as PostgreSQL counts


class EndAllForm(FlaskForm):  # type: ignore[misc]
    """Nothing but the token."""


class AccountPage:
    """The forms of one page, and what they do."""

    def __init__(self, accounts: Accounts, logins: Logins, sessions: Sessions) -> None:
        self._accounts = accounts
        self._logins = logins
        self._sessions = sessions
        self._actions: Mapping[str, Callable[[Account], BaseResponse]] = {
            "display_name": self._set_display_name,
            "password": self._change_password,
            "end": self._end,
            "end_all": self._end_all,
        }

    def answer(self) -> BaseResponse:
        """Show the page, or do what was sent."""
        if not current_user.is_authenticated:
            return redirect(url_for("login.login", next=url_for("account.account")), 303)
        account: Account = current_user._get_current_object()
        if request.method != "POST":
            return self._show(account)
        action = self._actions.get(request.form.get("do", ""))
        return action(account) if action else abort(400)

    def _set_display_name(self, account: Account) -> BaseResponse:
        form = DisplayNameForm(request.form)
        if not form.validate():
            return self._show(account, form, status=400)
        try:
            self._accounts.set_display_name(account, form.display_name.data)
        except ChatError as exc:
            return retry_later(self._show(account, form, status=_explain_name(form, exc)), exc)
        return _done(NAME_SET if form.display_name.data else NAME_REMOVED)

    def _change_password(self, account: Account) -> BaseResponse:
        form = PasswordForm(request.form)
        if not form.validate():
            return self._show(account, password=form, status=400)
        try:
            change = self._accounts.password_change(account, form.current.data, form.new.data, network(request.remote_addr))
            token = self._logins.end_others(account, first=change)
        except ChatError as exc:
            return retry_later(self._show(account, password=form, status=_explain_password(form, exc)), exc)
        self._sessions.renew(account, token)
        return _done(PASSWORD_CHANGED)

    def _end(self, account: Account) -> BaseResponse:
        form = EndForm(request.form)
        if not form.validate():
            abort(400)
        self._logins.end_one(account, form.login.data)  # it may have ended by itself, which is as well
        return _done(LOGIN_ENDED)

    def _end_all(self, account: Account) -> BaseResponse:
        if not EndAllForm(request.form).validate():
            abort(400)
        self._logins.end_all(account)
        self._sessions.leave()
        flash(ALL_ENDED)
        return redirect(url_for("login.login"), 303)

    def _show(
        self,
        account: Account,
        display_name: DisplayNameForm | None = None,
        password: PasswordForm | None = None,
        *,
        status: int = 200,
    ) -> Response:
        page = render_template(
            "chat/account.html",
            account=account,
            display_name_form=display_name or DisplayNameForm(formdata=None, data={"display_name": account.display_name}),
            password_form=password or PasswordForm(formdata=None),
            logins=self._logins.of(account),
            describe=describe,
            home=url_for("chat.page"),
            max_name=MAX_NAME,
            min_password=MIN_LENGTH,
            max_password=MAX_LENGTH,
        )
        return make_response(page, status)


def make_account(accounts: Accounts, logins: Logins, sessions: Sessions) -> Blueprint:
    """Return the blueprint `account`, with the page at `/account`."""
    blueprint = Blueprint("account", __name__)
    page = AccountPage(accounts, logins, sessions)

    @blueprint.route("/account", methods=["GET", "POST"])
    def account() -> BaseResponse:
        return page.answer()

    return blueprint


def _done(sentence: str) -> BaseResponse:
    """Show the page anew, so that reloading it does nothing a second time."""
    flash(sentence)
    return redirect(url_for("account.account"), 303)


def _explain_name(form: DisplayNameForm, exc: ChatError) -> int:
    match exc:
        case NameTaken():
            form.display_name.errors.append(NAME_TAKEN)
            return 409
        case InvalidUser():
            form.display_name.errors.append(IMPOSSIBLE_NAME.format(exc.why))
            return 400
    return explain_busy(form, exc)


def _explain_password(form: PasswordForm, exc: ChatError) -> int:
    match exc:
        case WrongLogin():
            form.current.errors.append(WRONG_PASSWORD)
            return 403
        case WeakPassword():
            form.new.errors.append(weakness(exc))
            return 400
    return explain_busy(form, exc)
