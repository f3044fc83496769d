"""An application whose on_disconnect never returns; `/flood` has it say more than any socket's buffers hold."""

import gevent
from flask import Flask, request

from chat import RestrictedChatChannel
from web import Chat
from web.routes.health import make_health


class Hanging:
    def on_disconnect(self, channel: RestrictedChatChannel, username: str) -> None:
        gevent.sleep(1000)


app = Flask(__name__)
chat = Chat(app, identify=lambda: request.headers.get("X-User"), controller=Hanging())
app.register_blueprint(make_health(chat))


@app.post("/flood")
def flood() -> str:
    for _ in range(2000):
        chat.server.get_channel("lobby").new_broadcast("x" * 4000, "app")
    return "said"
