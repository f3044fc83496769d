"""The server of the soak: an application that embeds the chat and believes a header, for 2,000 passwords take minutes.

What a server keeps for a while, or up to some size, is cut to what the first minute fills.  Otherwise it would grow until
then, for 5 minutes and by 10 MiB, and hide what grows for ever.
"""

import gc
import sqlite3

import gevent
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue
from sqlalchemy import Engine, event
from sqlalchemy.pool import ConnectionPoolEntry

from chat.broker import said
from web import Chat
from web.routes.health import make_health

REMEMBERED = 30.0  # seconds for which ids are, in place of 300; who says something again does so sooner
PAGES = 256  # KiB of its file that each connection of SQLite's keeps, in place of 2,000

said.REMEMBERED = REMEMBERED  # type: ignore[misc]  # which is Final for everybody else


@event.listens_for(Engine, "connect")
def keep_few_pages(connection: sqlite3.Connection, _record: ConnectionPoolEntry) -> None:
    connection.execute(f"PRAGMA cache_size=-{PAGES}")


app = Flask(__name__)
chat = Chat(app, identify=lambda: request.headers.get("X-User"))
app.register_blueprint(make_health(chat))


@app.get("/present")
def present() -> ResponseReturnValue:
    """Who is in which channel."""
    return jsonify({name: chat.server.get_channel(name).get_users() for name in chat.server.channels()})


@app.get("/greenlets")
def greenlets() -> ResponseReturnValue:
    """How many there are, but for those from before the start, which the collector does not see."""
    return jsonify(sum(isinstance(each, gevent.Greenlet) for each in gc.get_objects()))
