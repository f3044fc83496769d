"""Logs in to the standalone site, as its form wants it, and asks for tokens."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html import unescape
from typing import Final, TypeAlias
from urllib.parse import urlencode

import msgspec

from chat.client.browser import Answer, Browser
from chat.client.errors import LoginRefused, Refused

Token: TypeAlias = str | tuple[str, str]
"""A token, or a token with the name of the user that it was made for."""

TokenSource: TypeAlias = Callable[[str], Token]
"""Gives a fresh token for a channel.  May block.  What it raises decides: a ChatError with `retry`, or an OSError,
and it is asked again (after `retry_after` seconds where that is known); anything else ends the channel."""

CSRF: Final = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Login:
    """Name and password of an account."""

    username: str
    password: str = field(repr=False)
    path: str = "/login"
    """Where the site has its form."""


class Desk:
    """Where somebody who has logged in gets tokens; logs in when it has to."""

    def __init__(self, browser: Browser, login: Login) -> None:
        self._browser = browser
        self._login = login
        self._is_in = False

    def __call__(self, channel: str) -> Token:
        """A fresh token.  Blocks.  Raises: LoginRefused; Refused; Unreachable."""
        match self._post("/token", {"channel": channel}).json:
            case {"token": str(token), "username": str(username)}:
                return token, username
        raise Refused("bad_answer", "the server gave no token")

    def create_channel(self, name: str) -> None:
        """Blocks.  Raises: the same."""
        self._post("/channels", {"name": name})

    def _post(self, path: str, body: dict[str, str]) -> Answer:
        """Log in if that was not done, or if it has ended meanwhile, as after a change of the password elsewhere."""
        was_in = self._is_in
        if not was_in:
            self._log_in()
        answer = self._browser.post(self._browser.address.prefix + path, msgspec.json.encode(body), JSON)
        if answer.status == 401 or 300 <= answer.status < 400:
            self._is_in = False
            if was_in:
                return self._post(path, body)
            raise LoginRefused("not_logged_in", "the login was not accepted", status=answer.status)
        if not answer.is_ok:
            raise answer.refusal
        return answer

    def _log_in(self) -> None:
        form = self._browser.get(self._login.path)
        found = CSRF.search(form.body.decode(errors="replace"))
        if not form.is_ok or found is None:
            refusal = form.refusal
            if refusal.retry:
                raise refusal
            raise Refused("no_login", f"there is no login form at {self._login.path}", status=form.status)
        fields = {"csrf_token": unescape(found[1]), "username": self._login.username, "password": self._login.password}
        answer = self._browser.post(self._login.path, urlencode(fields).encode(), FORM)
        if answer.status == 303 or answer.status == 302:
            self._is_in = True
        elif answer.status in (400, 401):
            raise LoginRefused("wrong_login", status=answer.status)
        else:
            raise answer.refusal
