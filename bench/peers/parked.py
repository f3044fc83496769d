"""The bare technique: a WebSocket that leaves pywsgi after its handshake, and batched fan-out.

What a chat by this technique could reach in Python: it has no tokens, names, limits, timeouts, outbox or close handshake,
and no log.  A member that is not quick enough is dropped.
"""

from gevent import monkey

monkey.patch_all()

import gc
import json
import os
import socket
import sys

import gevent
from flask import Flask, Response, request
from gevent import get_hub, pywsgi
from gevent.queue import Queue
from geventwebsocket.handler import WebSocketHandler
from websockets.datastructures import Headers
from websockets.frames import Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

loop = get_hub().loop


class Conn:
    """One parked socket: a descriptor, a read watcher and a sans-I/O protocol.  No greenlet."""

    __slots__ = ("channel", "fd", "name", "protocol", "watcher")

    def __init__(self, protocol, channel, name):
        self.protocol, self.channel, self.name = protocol, channel, name

    def park(self, sock):
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fd = sock.detach()  # pywsgi's later close() finds nothing to close
        os.set_blocking(self.fd, False)
        self.channel.members[self.fd] = self
        self.watcher = loop.io(self.fd, 1)
        self.watcher.start(self.readable)

    def readable(self):  # runs in the hub: must never block
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.gone()
            return
        self.protocol.receive_data(data)
        for frame in self.protocol.events_received():
            if frame.opcode is Opcode.TEXT:
                self.channel.inbox.put_nowait((self.name, str(frame.data, "utf-8")))
        for reply in self.protocol.data_to_send():  # pongs, close frames
            if reply:
                os.write(self.fd, reply)
        if self.protocol.state is not OPEN:
            self.gone()

    def gone(self):
        if self.channel.members.pop(self.fd, None):
            self.watcher.stop()
            self.watcher.close()
            os.close(self.fd)


def text_frame(payload):
    n = len(payload)
    head = bytes((0x81, n)) if n < 126 else b"\x81\x7e" + n.to_bytes(2, "big")
    return head + payload


class Channel:
    def __init__(self):
        self.members, self.inbox, self.offset = {}, Queue(), 0
        gevent.spawn(self.run)

    def run(self):
        while True:
            batch = [self.inbox.get()]
            while self.inbox.qsize() and len(batch) < 256:
                batch.append(self.inbox.get_nowait())
            frames = []
            for sender, text in batch:
                self.offset += 1
                event = {"type": "message", "offset": self.offset, "from": sender, "text": text}
                frames.append(text_frame(json.dumps(event).encode()))
            data = b"".join(frames)
            for fd, conn in list(self.members.items()):
                try:
                    sent = os.write(fd, data)
                except OSError:
                    sent = 0
                if sent != len(data):  # the real one: outbox + write watcher, then 4008
                    conn.gone()
            gevent.sleep(0)  # let the hub read


class Handler(WebSocketHandler):
    """Runs the view first; sends the 101 only if the view agrees; then lets go of the socket."""

    def run_application(self):
        if self.environ.get("HTTP_UPGRADE", "").lower() != "websocket":
            pywsgi.WSGIHandler.run_application(self)
            return
        headers = Headers()
        for key, value in self.environ.items():
            if key.startswith("HTTP_"):
                headers[key[5:].replace("_", "-")] = value
        handshake = ServerProtocol()
        response = handshake.accept(Request(self.environ["PATH_INFO"], headers))
        self.environ["wsgi.url_scheme"] = "ws"  # Flask: websocket=True
        statuses = []
        list(self.application(self.environ, lambda status, headers, exc=None: statuses.append(status)))
        conn = self.environ.get("parked.conn")
        if conn is None or not statuses[0].startswith("101"):
            self.socket.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        handshake.send_response(response)
        self.socket.sendall(b"".join(handshake.data_to_send()))
        conn.protocol = ServerProtocol(state=OPEN, max_size=65536)
        sock, self.socket = self.socket, None  # ends the keep-alive loop; nothing left to close
        conn.park(sock)  # the real one: also what rfile had read ahead

    def handle_one_response(self):
        self.time_start = self.response_length = 0
        self.status = self.result = None
        self.headers_sent = self.response_use_chunked = self.connection_upgraded = False
        self.run_application()


app, channel = Flask(__name__), Channel()


@app.route("/ws", websocket=True)
def ws():
    request.environ["parked.conn"] = Conn(None, channel, "someone")
    return Response(status=101)


if __name__ == "__main__":
    server = pywsgi.WSGIServer(("127.0.0.1", int(sys.argv[1])), app, handler_class=Handler, log=None)
    gc.collect()
    gc.freeze()
    server.serve_forever()
