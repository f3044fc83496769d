"""An embedding application for tests of faults: it tells about its process, and its hooks go wrong when they are told to.

Who asks is who the header X-User names.  In the channel `slow` it takes a while until somebody may join.
"""

import gc
from contextlib import suppress
from pathlib import Path

import gevent
import greenlet
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue
from gevent.libev.corecext import watcher

from chat import ChannelBusy, ChatChannel, DuplicatedChannel
from web import Chat
from web.websocket.base import BaseSocket

SLOW = 0.3  # seconds


class Controller:
    """Hooks that do what the text says, or the user's name."""

    def encode(self, channel: ChatChannel, _date: object, msg: str, sender: str, _to: str) -> str:
        match msg.split():
            case ["raise"]:
                raise RuntimeError("as asked")
            case ["block", seconds]:
                gevent.sleep(float(seconds))
            case ["spawn"]:
                for number in range(100):
                    gevent.spawn(channel.new_system_broadcast, f"spawned {number}")
            case ["re-enter"]:
                channel.new_system_broadcast(f"here are {channel.get_users()}")
                channel.new_system_whisper("psst", sender)
            case ["overflow"]:
                return f"busy after {self._overflow(channel)}"
            case ["remove"]:
                channel.remove_user(sender)
            case ["close"]:
                channel.close()
        return msg

    def on_connect(self, channel: ChatChannel, username: str) -> None:
        if username == "raiser":
            raise RuntimeError("as asked")
        channel.new_system_broadcast(f"{username} is here")

    def on_disconnect(self, channel: ChatChannel, username: str) -> None:
        if username == "raiser":
            raise RuntimeError("as asked")
        channel.new_system_broadcast(f"{username} has gone")

    def _overflow(self, channel: ChatChannel) -> int:
        """Say things until the channel takes no more, and tell how many it took."""
        count = 0
        try:
            while True:
                channel.new_system_broadcast("more")
                count += 1
        except ChannelBusy:
            return count


def authorize(_username: str, channel: str, action: str) -> bool:
    if channel == "slow" and action == "join":
        gevent.sleep(SLOW)
    return True


app = Flask(__name__)
chat = Chat(app, identify=lambda: request.headers.get("X-User"), authorize=authorize, controller=Controller())


@app.get("/mint/<channel>/<names>/<int:count>")
def mint(channel: str, names: str, count: int) -> ResponseReturnValue:
    """One token a line: one for the user of that name, or one each for `count` users whose names begin with it."""
    with suppress(DuplicatedChannel):
        chat.server.create_channel(channel)
    users = [f"{names}{number}" for number in range(count)] if count else [names]
    return "\n".join(chat.server.request_token(user, channel) for user in users)


@app.get("/state")
def state() -> ResponseReturnValue:
    """What there is in this process."""
    gc.collect()
    found = gc.get_objects()
    sockets = [thing for thing in found if isinstance(thing, BaseSocket)]
    return jsonify(
        census=len(chat.gate.census),
        guests=len(chat.gate),
        sockets=len(sockets),
        paused=sum(socket.paused for socket in sockets),
        outstanding=sum(socket.outstanding for socket in sockets),
        greenlets=sum(isinstance(thing, greenlet.greenlet) and not thing.dead for thing in found),
        watchers=sum(isinstance(thing, watcher) for thing in found),
        descriptors=len(list(Path("/proc/self/fd").iterdir())),
    )


@app.get("/remove/<channel>/<username>")
def remove(channel: str, username: str) -> ResponseReturnValue:
    """Send a user away."""
    chat.server.get_channel(channel).remove_user(username)
    return "", 204
