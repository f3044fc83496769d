"""Flask-SocketIO on gevent: a room, a token at the door, and a notice of who came.

The token is taken from a set, once, as ours is.  The notice is told at most every 250 ms once the room is large, and
less often in very large ones, as ours is: told to everybody at each join, which is how its documentation has it, it would
cost 1,000 times as much at N = 1,000.
"""

from gevent import monkey

monkey.patch_all()

import os
from pathlib import Path

import gevent
from flask import Flask, request
from flask_socketio import SocketIO, emit, join_room

ROOM = "lobby"
LARGE = 100
PERIOD = 0.25
NOTICES = 5_000

app = Flask(__name__)
socketio = SocketIO(app, async_mode="gevent", cors_allowed_origins=[])
tokens = set(Path(os.environ["TOKENS"]).read_text().split())
members = {}
arrived = []


@socketio.on("connect")
def on_connect():
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if token not in tokens:
        return False
    tokens.remove(token)
    members[request.sid] = token[:8]
    join_room(ROOM)
    if len(members) <= LARGE:
        emit("joined", {"user": members[request.sid]}, to=ROOM)
    else:
        arrived.append(members[request.sid])
        if len(arrived) == 1:
            gevent.spawn_later(max(PERIOD, len(members) / NOTICES), tell)
    return True


def tell():
    names = arrived[:100]
    arrived.clear()
    socketio.emit("presence", {"joined": names, "count": len(members)}, to=ROOM)


@socketio.on("disconnect")
def on_disconnect(*_):
    members.pop(request.sid, None)


@socketio.on("chat")
def on_chat(text):
    emit("chat", text, to=ROOM)
