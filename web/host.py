"""What the routes need of the extension, which lies above them."""

from collections.abc import Iterable
from typing import Protocol

from chat.server import ChatServer
from web.settings import Settings
from web.throttle import Throttle
from web.websocket.gate import Gate


class Host(Protocol):
    """The chat of one Flask application."""

    @property
    def settings(self) -> Settings: ...

    @property
    def server(self) -> ChatServer: ...

    @property
    def gate(self) -> Gate: ...

    @property
    def is_ready(self) -> bool:
        """Whether new users should be sent here."""

    @property
    def is_shared(self) -> bool:
        """Whether other processes may serve it too, over a Redis."""

    @property
    def tokens(self) -> Throttle:
        """How many tokens one user may ask for."""

    @property
    def handshakes(self) -> Throttle:
        """How many sockets may be opened from one address."""

    @property
    def channels(self) -> Throttle:
        """How many channels one user may create."""

    @property
    def pages(self) -> Throttle:
        """How many pages of history one user may ask for."""

    def identify(self) -> str | None:
        """Who asks, in NFC; None for somebody who is not logged in.  In requests only."""

    def display_name(self) -> str | None:
        """What others shall call who asks, in NFC; None for nothing but the username.  In requests only."""

    def session(self) -> str | None:
        """The login by which they ask, where the application tells.  In requests only."""

    def may(self, username: str, channel: str, action: str) -> bool:
        """Whether the application allows it."""

    def visible(self, username: str, channels: Iterable[str]) -> list[str]:
        """Those of `channels` that the application lets the user list."""

    def readable(self, username: str, channels: Iterable[str]) -> list[str]:
        """Those of `channels` of which the user may know what was said."""
