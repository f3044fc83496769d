"""socketify (uWebSockets, C++): its own publish and subscribe."""

import sys

from socketify import App, AppListenOptions, CompressOptions, OpCode

ROOM = "lobby"

app = App()


def on_open(ws):
    ws.subscribe(ROOM)


def on_message(ws, message, _opcode):
    app.publish(ROOM, message, OpCode.TEXT)


app.ws(
    "/*",
    {
        "compression": CompressOptions.DISABLED,
        "max_payload_length": 64 * 1024,
        "max_backpressure": 16 * 2**20,  # by default it drops what a slow reader has not taken
        "idle_timeout": 960,
        "open": on_open,
        "message": on_message,
    },
)
app.listen(AppListenOptions(host="127.0.0.1", port=int(sys.argv[1])))
app.run()
