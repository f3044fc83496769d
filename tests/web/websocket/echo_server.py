"""A server that echoes, for clients that block: `python -m tests.web.websocket.echo_server [--tls CERT] [--unix PATH]`.

`/parked` is parked, `/route` is a route as for gevent-websocket; both agree to compression.  Says `Serving on PORT` when it
does.
"""

import argparse

from gevent import socket, ssl
from gevent.pywsgi import WSGIServer
from websockets.frames import Opcode

from web.websocket.deflate import deflated
from web.websocket.handler import WebSocketHandler
from web.websocket.limits import Bounds
from web.websocket.protocol import frame

FIN, RSV1 = 0x80, 0x40


class Handler(WebSocketHandler):
    compression = True


class Echo:
    """Sends back what comes; the text `close` closes."""

    def __init__(self, connection):
        self.connection = connection
        connection.start(self)

    def received(self, message):
        if message == "close":
            self.connection.close(4503, "as you wish")
        else:
            self.connection.write(self.frame(message))

    def frame(self, message):
        opcode, payload = (Opcode.TEXT, message.encode()) if isinstance(message, str) else (Opcode.BINARY, message)
        if self.connection.deflates:
            return frame(FIN | RSV1 | opcode, deflated(payload))
        return frame(FIN | opcode, payload)

    def pinged(self, count):
        pass

    def ended(self, closing):
        pass


def app(environ, start_response):
    if environ["PATH_INFO"] == "/parked":
        environ["web.websocket"].accept(
            Echo,
            on_abandoned=lambda: None,
            subprotocol=None,
            bounds=Bounds(write_buf=1 << 24, max_message=1 << 24, max_fragments=1 << 20),
            compression=True,
        )
        start_response("101 Switching Protocols", [])
        return []
    if environ["PATH_INFO"] == "/route":
        websocket = environ["wsgi.websocket"]
        while (message := websocket.receive()) is not None:
            if message == "close":
                websocket.close(4503, "as you wish")
                break
            websocket.send(message)
        return []
    start_response("404 Not Found", [("Content-Length", "7")])
    return [b"nowhere"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls")
    parser.add_argument("--unix")
    options = parser.parse_args()
    settings = {}
    if options.tls:
        settings["ssl_context"] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        settings["ssl_context"].num_tickets = 0  # which Python's ssl cannot take in one thread while another one writes
        settings["ssl_context"].load_cert_chain(options.tls)
    if options.unix:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(options.unix)
        listener.listen()
    else:
        listener = ("127.0.0.1", 0)
    server = WSGIServer(listener, app, handler_class=Handler, **settings)
    server.start()
    print("Serving on", options.unix or server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
