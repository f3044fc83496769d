"""A client of chat.v1, for bots and tests."""

from chat.client.address import Address
from chat.client.channel import ClientChannel, Event
from chat.client.client import ChatClient, State
from chat.client.errors import Ended, LoginRefused, NotOpen, OutboxFull, Refused, Unconfirmed, Unreachable
from chat.client.login import Login, TokenSource
from chat.client.position import Lost, Position
from chat.client.receipt import Receipt
from chat.errors import ChatError
from chat.event import Deleted, Edited, IsTyping, Joined, Left, Message, Page, Past, Presence, User, Whisper

__all__ = [
    "Address",
    "ChatClient",
    "ChatError",
    "ClientChannel",
    "Deleted",
    "Edited",
    "Ended",
    "Event",
    "IsTyping",
    "Joined",
    "Left",
    "Login",
    "LoginRefused",
    "Lost",
    "Message",
    "NotOpen",
    "OutboxFull",
    "Page",
    "Past",
    "Position",
    "Presence",
    "Receipt",
    "Refused",
    "State",
    "TokenSource",
    "Unconfirmed",
    "Unreachable",
    "User",
    "Whisper",
]
