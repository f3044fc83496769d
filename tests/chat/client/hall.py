"""A server of chat.v1 in memory, for one client, that breaks connections where it is told to: between any two frames, or
in the middle of one."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain, repeat
from urllib.parse import parse_qs, urlsplit

from gevent.socket import socket as GeventSocket
from websockets.exceptions import InvalidState

from tests.chat.client.scripted import DATE, DEADLINE, Peer, ScriptedServer, welcome

ENDLESS = 10**9


class Cut(Exception):
    """The connection is broken off."""


class Hall:
    """`fuses`: for each connection, after how many frames, in and out, it is cut; all further ones last.  `moods`: for each
    publish, whether it is refused for a moment.  Bob speaks before each message of the client's that is logged."""

    def __init__(self, fuses: Iterable[int], moods: Iterable[bool]) -> None:
        self.logs: dict[str, list[dict]] = {}
        """Messages by channel; an offset is a place in it, from 1."""
        self.connections = 0
        self._fuses: Iterator[int] = chain(fuses, repeat(ENDLESS))
        self._moods: Iterator[bool] = chain(moods, repeat(False))
        self._server = ScriptedServer(self._serve)
        self.url = self._server.url

    def close(self) -> None:
        self._server.close()

    def texts(self, channel: str) -> list[str]:
        return [message["text"] for message in self.logs[channel]]

    def _serve(self, sock: GeventSocket) -> None:
        sock.settimeout(DEADLINE)
        self.connections += 1
        with suppress(Cut, EOFError, OSError, InvalidState):  # it hung up, perhaps in the middle of ours
            Guest(self, Peer(sock), next(self._fuses)).stay()

    def log(self, channel: str, sender: str, text: str, id: str | None) -> dict:
        log = self.logs.setdefault(channel, [])
        message = {"offset": len(log) + 1, "id": id, "from": sender, "text": text, "date": DATE}
        log.append(message)
        return message

    def known(self, channel: str, id: str) -> dict | None:
        return next((message for message in self.logs.setdefault(channel, []) if message["id"] == id), None)

    def is_refused(self) -> bool:
        return next(self._moods)


class Guest:
    """One connection to the hall."""

    def __init__(self, hall: Hall, peer: Peer, fuse: int) -> None:
        self._hall = hall
        self._peer = peer
        self._fuse = fuse

    def stay(self) -> None:
        self._peer.let_in()
        asked = parse_qs(urlsplit(self._peer.request.path).query)
        self._enter(self._peer.token, int(asked["offset"][0]) if asked else None)
        while True:
            request = self._peer.hears()
            self._burn()
            match request["type"]:
                case "join":
                    self._enter(request["token"], request["offset"])
                    self._send("ack", request["token"], id=request["id"], offset=None)
                case "publish":
                    self._publish(request["channel"], request["id"], request["text"])

    def _enter(self, channel: str, offset: int | None) -> None:
        """The token is the channel's name."""
        log = self._hall.logs.setdefault(channel, [])
        self._send("welcome", channel, **welcome(offset=len(log), recovered=offset is not None))
        for message in log[len(log) if offset is None else max(offset - 1, 0) :]:  # the last one twice: its reader must see
            self._send("message", channel, **message)

    def _publish(self, channel: str, id: str, text: str) -> None:
        known = self._hall.known(channel, id)
        if known is None and self._hall.is_refused():
            self._send("error", channel, id=id, code="broker_unavailable", message="later", retry=True)
            return
        if known is None:
            mine = [self._hall.log(channel, "bob", f"before {text}", None), self._hall.log(channel, "ann", text, id)]
            known = mine[-1]
            for message in mine:
                self._send("message", channel, **message)
        self._send("ack", channel, id=id, offset=known["offset"])

    def _send(self, type: str, channel: str, **fields: object) -> None:
        if self._fuse <= 1:
            self._peer.send_half(type, channel, **fields)
        self._burn()
        self._peer.says(type, channel, **fields)

    def _burn(self) -> None:
        self._fuse -= 1
        if self._fuse <= 0:
            self._peer.cut()
            raise Cut
