"""A chat server on gevent: channels, tokens, members, hooks.

It knows nothing of HTTP or WebSockets: anything with `recv`, `send_str` and `close` can be a connection.
"""

from chat.channel import ChatChannel
from chat.config import ServerConf
from chat.conn import Conn, DirectConn, PipeConn
from chat.controller import ChannelController, MessageEncoder
from chat.errors import (
    BadText,
    BrokerUnavailable,
    ChannelBusy,
    ChannelClosed,
    ChatError,
    ConnEOF,
    DuplicatedChannel,
    IdleChannel,
    InvalidChannel,
    InvalidToken,
    InvalidUser,
    MessageTooBig,
    RateLimited,
    SlowConsumer,
    TestTimeout,
    TooManyTokens,
    UserAlreadyConnected,
)
from chat.restricted import RestrictedChatChannel
from chat.server import ChatServer

__all__ = [
    "BadText",
    "BrokerUnavailable",
    "ChannelBusy",
    "ChannelClosed",
    "ChannelController",
    "ChatChannel",
    "ChatError",
    "ChatServer",
    "Conn",
    "ConnEOF",
    "DirectConn",
    "DuplicatedChannel",
    "IdleChannel",
    "InvalidChannel",
    "InvalidToken",
    "InvalidUser",
    "MessageEncoder",
    "MessageTooBig",
    "PipeConn",
    "RateLimited",
    "RestrictedChatChannel",
    "ServerConf",
    "SlowConsumer",
    "TestTimeout",
    "TooManyTokens",
    "UserAlreadyConnected",
]
