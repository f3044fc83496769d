"""Everything that chat refuses or loses, as one tree of exceptions.

Each class has a `code`, the stable word that peers get over every wire, and `retry`, whether the same request may succeed
later without being changed.  What HTTP status or close code goes with it is not known here: see `web/answers.py` and
`chat/closing.py`.  All can be constructed without arguments, so that a test or a backend can raise them bare; the facts
that are known ride along as attributes.
"""

from typing import ClassVar


class ChatError(Exception):
    """The root of all that this package raises on purpose."""

    code: str = "chat_error"
    retry: bool = False
    text: ClassVar[str] = "the chat refused this"

    def __str__(self) -> str:
        return self.text


class InvalidToken(ChatError):
    """No such token: never issued, spent already, or past its deadline."""

    code = "invalid_token"
    text = "this token was never issued, was used already, or is too old"


class ExpiredToken(InvalidToken):
    """Issued here, but presented after its deadline."""

    code = "expired_token"

    def __init__(self, late_by: float = 0.0) -> None:
        self.late_by = late_by

    def __str__(self) -> str:
        return f"token is {self.late_by:.1f} s past its deadline"


class _ChannelError(ChatError):
    """An error about one channel, which it names when it is known."""

    def __init__(self, channel: str = "", why: str = "") -> None:
        self.channel = channel
        self.why = why

    def __str__(self) -> str:
        about = f"channel {self.channel!r}" if self.channel else "the channel"
        return f"{about} {self.why or self.text}"


class IdleChannel(_ChannelError):
    """The channel ended, or was unloaded, because nobody used it.  Get it, or create it, again."""

    code = "idle_channel"
    retry = True
    text = "was closed because nobody used it"


class DuplicatedChannel(_ChannelError):
    """A channel of that name is open already."""

    code = "duplicated_channel"
    text = "exists already"


class InvalidChannel(_ChannelError):
    """No such channel, or a name that no channel can have."""

    code = "invalid_channel"
    text = "does not exist"


class ChannelClosed(_ChannelError):
    """The channel has ended; nothing can be said in it or join it any more."""

    code = "channel_closed"
    text = "is closed"


class ServerClosed(ChannelClosed):
    """The whole server has ended; another one may have begun."""

    code = "server_closed"
    retry = True
    text = "cannot be reached: the chat server is closed"


class ChannelBusy(_ChannelError):
    """The channel's inbox stayed full for longer than we were ready to wait.  Nothing was said."""

    code = "channel_busy"
    retry = True
    text = "has more waiting than it can take"


class InvalidUser(ChatError):
    """A name that no user can have, or one that is not in the channel."""

    code = "invalid_user"
    text = "there is no such user"

    def __init__(self, username: str = "", why: str = "") -> None:
        self.username = username
        self.why = why

    def __str__(self) -> str:
        if not self.why:
            return self.text
        return f"user {self.username!r} {self.why}" if self.username else f"the user {self.why}"


class UserNotHere(InvalidUser):
    """The addressee of a whisper is not in the channel."""

    code = "not_here"
    text = "that user is not here"


class UserAlreadyConnected(ChatError):
    """The name is taken in that channel."""

    code = "user_already_connected"
    text = "a user of that name is in the channel already"

    def __init__(self, username: str = "", channel: str = "") -> None:
        self.username = username
        self.channel = channel


class ConnEOF(ChatError):
    """The other end has gone.  The only end of a `Conn` that is not a fault."""

    code = "eof"
    text = "the connection has ended"


class TestTimeout(ChatError):
    """Nothing came in time at the client end of a `PipeConn`."""

    __test__ = False  # pytest would take the name for a test class
    code = "test_timeout"
    text = "nothing was received in time"


class MessageTooBig(ChatError):
    """The text is longer than `ServerConf.max_message`, in bytes of UTF-8."""

    code = "message_too_big"
    text = "the message is too long"

    def __init__(self, size: int = 0, limit: int = 0) -> None:
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return f"the message has {self.size} bytes, at most {self.limit} are allowed" if self.limit else self.text


class BadText(ChatError):
    """The text holds what no text may hold: U+0000 or half of a surrogate pair."""

    code = "bad_text"
    text = "the text holds U+0000 or a lone surrogate"


class BadRequest(ChatError):
    """A frame that is no request: not JSON, of an unknown type, or with a wrong field."""

    code = "bad_request"
    text = "this is not a request"

    def __init__(self, why: str = "", id: str | None = None, channel: str = "") -> None:
        self.why = why
        self.id = id
        self.channel = channel

    def __str__(self) -> str:
        return self.why or self.text


class NotJoined(BadRequest):
    """A request about a channel that this socket has not joined."""

    code = "not_joined"
    text = "this connection has not joined that channel"


class Forbidden(ChatError):
    """The user may not do that here."""

    code = "forbidden"
    text = "you are not allowed to do this here"


class NoSuchMessage(ChatError):
    """There is no message at that offset: nothing, something else, or it is no longer kept."""

    code = "no_such_message"
    text = "there is no such message"


class MessageDeleted(ChatError):
    """The message was deleted, so nothing more can be done to it."""

    code = "message_deleted"
    text = "this message was deleted"


class NotYourMessage(ChatError):
    """Only its author, or a moderator, may change that message."""

    code = "not_your_message"
    text = "this message is somebody else's"


class TooLateToEdit(ChatError):
    """Its author could have changed the message within `ServerConf.edit_window`."""

    code = "too_late"
    text = "this message is too old to be changed"


class OtherUser(ChatError):
    """A token for `join` that is another user's, or of another login, than the connection's."""

    code = "other_user"
    text = "this token is of another user, or another login"


class AlreadyJoined(ChatError):
    """This connection is in that channel already."""

    code = "already_joined"
    text = "this connection is in that channel already"


class TooManyChannels(ChatError):
    """One connection may be in so many channels; leave one first, or open another connection."""

    code = "too_many_channels"
    text = "this connection is in as many channels as it may be"


class HookFailed(ChatError):
    """The application's own hook raised while it handled the message.  The message was not said."""

    code = "hook_failed"
    text = "the application failed while it handled this message"


class SlowConsumer(ChatError):
    """The reader is so slow that its queue passed `ServerConf.write_buf`; it was dropped."""

    code = "slow_consumer"
    retry = True
    text = "the connection reads too slowly"


class RateLimited(ChatError):
    """Said too much in too short a time."""

    code = "rate_limited"
    retry = True
    text = "too many messages in too short a time"

    def __init__(self, id: str = "", retry_after: float = 0.0) -> None:
        self.id = id
        self.retry_after = retry_after


class TooManyTokens(RateLimited):
    """The user has so many tokens that were not used yet.  None was issued; one of them used, or too old, makes room."""

    code = "too_many_tokens"
    text = "too many tokens of this user wait to be used"


class DatabaseUnavailable(ChatError):
    """The database cannot be used now.  What was to be stored may or may not have been."""

    code = "database_unavailable"
    retry = True
    text = "the database cannot be reached; try again"


class _UnfitDatabase(ChatError):
    """Its tables are not those that this version of the code works with."""

    def __init__(self, standings: str = "") -> None:
        self.standings = standings

    def __str__(self) -> str:
        return f"{self.text} ({self.standings})" if self.standings else self.text


class DatabaseBehind(_UnfitDatabase):
    """The database has to be upgraded first."""

    code = "database_behind"
    text = "the database is behind"


class DatabaseAhead(_UnfitDatabase):
    """A newer version wrote the database, or something else; nothing was touched."""

    code = "database_ahead"
    text = "the database is ahead, or has versions that are not known here"


class BrokerUnavailable(ChatError):
    """The log cannot be written, or read, now.  What was said may be in it nevertheless: say it again, with the same id."""

    code = "broker_unavailable"
    retry = True
    text = "the log cannot be reached; try again"

    def __init__(self, why: str = "") -> None:
        self.why = why  # for whoever runs the server, who sees it below a traceback
        if why:
            self.add_note(why)


class NotStorable(ChatError):
    """The database refuses this very event, whatever is beside it.  It was not said."""

    code = "not_storable"
    text = "the database does not take this message"
