"""The server of the soak: an application that embeds the chat and believes a header, for 2,000 passwords take minutes."""

import gc

import gevent
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

from web import Chat
from web.routes.health import make_health

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
