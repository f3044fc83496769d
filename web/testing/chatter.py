"""Somebody in a channel, over chat.v1."""

from secrets import token_hex

from chat.wire import SUBPROTOCOL
from web.testing.caller import Caller


class Chatter(Caller):
    """A client of chat.v1; `welcome` is what it was greeted with in `channel`, its first one."""

    welcome: dict[str, object]

    def __init__(self, port: int, channel: str) -> None:
        super().__init__(port, manners=True)
        self.channel = channel

    def enter(self, path: str, token: str, query: str = "") -> None:
        """Shake hands, and wait for the welcome; `query` is `epoch=...&offset=...` for one that comes back.

        Raises: Refused.
        """
        self.shake_hands(f"{path}?{query}", subprotocols=[SUBPROTOCOL, f"chat.token.{token}"])
        self.welcome = self.hear("welcome")

    def join(self, token: str, **position: object) -> dict[str, object]:
        """Enter the channel of `token` too; return its welcome.  `epoch` and `offset` are for one that comes back.

        Raises: AssertionError when it is refused.
        """
        id = self.ask_by_id("join", token=token, **position)
        answer = self.hear("welcome", "error")
        if answer["type"] == "error":
            raise AssertionError(f"join {id} was refused: {answer}")
        self.hear("ack")
        return answer

    def leave(self, channel: str) -> None:
        """Give a channel up, and pass over all that is heard until that is done."""
        id = self.ask_by_id("leave", channel=channel)
        while self.hear("ack")["id"] != id:
            pass

    def publish(self, text: str, *, to: str | None = None, channel: str | None = None) -> str:
        """Say `text` in a channel, the first one unless it is named, to everybody or `to` one user; return its id."""
        return self.ask_by_id("publish", channel=channel or self.channel, text=text, **({} if to is None else {"to": to}))

    def ask_by_id(self, type: str, **fields: object) -> str:
        """Send a request under a new id, and return that."""
        id = token_hex(12)  # an archive remembers those of earlier runs
        self.ask(type=type, id=id, **fields)
        return id

    def hear(self, *types: str) -> dict[str, object]:
        """The next event of one of these types; others are passed over."""
        event = self.event()
        while event["type"] not in types:
            event = self.event()
        return event
