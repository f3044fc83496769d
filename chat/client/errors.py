"""What goes wrong at a client's end; what the server refuses in words of its own is `Refused`."""

from chat.closing import GONE, Closing
from chat.errors import ChatError


class Refused(ChatError):
    """The server has said no; `code` is its word, see docs/protocol.md, the text its sentence.

    `status` is that of HTTP, 0 where it came over the socket.  `retry_after`: seconds that the server asks to wait for.
    """

    code = "refused"
    text = "the server refused this"

    def __init__(
        self, code: str = "", message: str = "", *, retry: bool = False, status: int = 0, retry_after: float | None = None
    ) -> None:
        self.code = code or Refused.code
        self.message = message
        self.retry = retry
        self.status = status
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self.message or self.text


class LoginRefused(Refused):
    """The server does not know who asks: a wrong name or password, or a login that has ended."""

    text = "there is no account with this name and this password"


class Unreachable(ChatError):
    """No server answers there, or what answers is none that we understand."""

    code = "unreachable"
    retry = True
    text = "the server cannot be reached"

    def __init__(self, where: str = "", why: str = "") -> None:
        self.where = where
        self.why = why

    def __str__(self) -> str:
        where = f"{self.where} cannot be reached" if self.where else self.text
        return f"{where}: {self.why}" if self.why else where


class Ended(ChatError):
    """The server has ended the connection, or the channel, with a code that says not to come back."""

    code = "ended"
    text = "the server has ended this"

    def __init__(self, closing: Closing | None = None) -> None:
        self.closing = closing

    def __str__(self) -> str:
        if self.closing is None:
            return self.text
        reason = self.closing.reason or ("the connection was lost" if self.closing == GONE else "it gave no reason")
        return f"{reason} ({self.closing.code})"


class NotOpen(ChatError):
    """The channel was left, or the client closed; nothing can be said any more."""

    code = "not_open"
    text = "this channel was left"


class Unconfirmed(ChatError):
    """Said, perhaps, and not confirmed: the client was closed, or the server away for longer than it remembers ids."""

    code = "unconfirmed"
    text = "this was perhaps said: the connection was lost before it was confirmed"


class OutboxFull(ChatError):
    """So much waits for the server already that nothing more is taken.  Wait for a receipt, then say it again."""

    code = "outbox_full"
    retry = True
    text = "too much waits to be said"
