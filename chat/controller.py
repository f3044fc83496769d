"""What an application may implement to take part in its channels.

Give an object with any of these methods as `ServerConf.controller`; it need not inherit from these classes.  While a hook
of a channel runs, calls on that channel do not wait: a hook can say something, remove somebody or close the channel
without getting in its own way.  A hook that raises is logged, and costs that message only.
"""

from datetime import datetime
from typing import Protocol

from chat.channel import ChatChannel
from chat.restricted import RestrictedChatChannel


class MessageEncoder(Protocol):
    """Renders what is said.  Called once per message, in the process where it was said; it may block."""

    def encode(self, channel: ChatChannel, date: datetime, msg: str, sender: str, to: str) -> str:
        """Return the text that everybody gets, whatever the wire; "" drops the message.

        `date` is aware; `sender` is "" for the system; `to` is "" unless it is a whisper.
        """


class ChannelController(Protocol):
    """Hears who comes and goes; each method replaces the default notice.  Both are optional, and may block."""

    def on_connect(self, channel: ChatChannel, username: str) -> None:
        """`username` is listed, with a first connection."""

    def on_disconnect(self, channel: RestrictedChatChannel, username: str) -> None:
        """`username` is no longer listed: the last connection has gone."""
