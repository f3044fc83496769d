"""Somebody in a channel, over chat.v1."""

from itertools import count
from typing import Final

from chat.wire import SUBPROTOCOL
from web.testing.caller import Caller

_numbers: Final = count(1)


class Chatter(Caller):
    """A client of chat.v1, for one channel; `welcome` is what it was greeted with."""

    welcome: dict[str, object]

    def __init__(self, port: int, channel: str) -> None:
        super().__init__(port, manners=True)
        self.channel = channel

    def join(self, path: str, token: str, query: str = "") -> None:
        """Shake hands, and wait for the welcome; `query` is `epoch=...&offset=...` for one that comes back.

        Raises: Refused.
        """
        self.shake_hands(f"{path}?{query}", subprotocols=[SUBPROTOCOL, f"chat.token.{token}"])
        self.welcome = self.hear("welcome")

    def publish(self, text: str, *, to: str | None = None) -> str:
        """Say `text`, to everybody or `to` one user; return the id that it goes by."""
        id = f"{next(_numbers)}"
        self.ask(type="publish", channel=self.channel, id=id, text=text, **({} if to is None else {"to": to}))
        return id

    def hear(self, *types: str) -> dict[str, object]:
        """The next event of one of these types; others are passed over."""
        event = self.event()
        while event["type"] not in types:
            event = self.event()
        return event
