"""The demo server of go-chat-i-guess, cmd/chat-server, on this package: its clients work unchanged.

    python -m examples.go_chat_server -Port 8888

from the top folder of the project; then open http://127.0.0.1:8888.  `-confFile` names a JSON file with the same options,
which those on the command line override.

Its HTTP surface knows no login: whoever comes first has the name.  That is why it listens on the loopback interface unless
`-IP` says otherwise.  Where a name has to mean somebody, use the web application (`wsgi.py`).

A member is a `PlainConn` on a socket from `environ["web.websocket"]`, not a three-method `Conn` on
`environ["wsgi.websocket"]`: so all that can be refused is refused before the 101, with a status that tells why, and an
idle member costs no greenlet.
"""

if __name__ == "__main__":
    from gevent import monkey

    monkey.patch_all()  # before anything else can import what it replaces

import argparse
import logging
import re
from base64 import urlsafe_b64decode
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
from flask import Flask, Response, abort, make_response, request
from msgspec import Meta
from werkzeug.exceptions import HTTPException

from chat import ChatChannel, ChatError, ChatServer, InvalidChannel, InvalidUser, ServerConf
from chat.clock import SystemClock
from chat.closing import CHANNEL_CLOSED
from chat.errors import BadRequest
from chat.format import plain_line
from chat.member import Member
from chat.names import check_channel_name
from web.answers import answer
from web.routes.page import harden
from web.serve import serve
from web.websocket.base import BaseSocket
from web.websocket.conn import PlainConn
from web.websocket.handshake import HandshakeError, check, check_origin
from web.websocket.heartbeat import Heartbeat
from web.websocket.limits import Bounds, SocketLimits
from web.websocket.peer import Rules
from web.websocket.upgrade import KEY, Upgrade

CHANNELS: Final = 1000  # at most: anybody may create one, and an unused one lasts for five minutes
LISTING: Final = 4000  # bytes that `/users` may whisper; a message has 4096
LIMITS: Final = SocketLimits()  # a frame may be longer than a text, so that one which is too long is answered, not cut off
BASE64: Final = re.compile(r"[A-Za-z0-9_-]+={0,2}")


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the program can be told, by the original's names."""

    IP: str = "127.0.0.1"
    Port: Annotated[int, Meta(ge=0, le=65535)] = 8888
    ReadSize: Annotated[int, Meta(ge=1)] = 8192
    WriteSize: Annotated[int, Meta(ge=1)] = 1 << 20
    IgnoreOrigin: bool = False
    Debug: bool = False


class Commands:
    """`/users` and `/quit`, which the sender alone sees the effect of; anything else is said as usual.

    An encoder, because it is called in the channel's order and may call the channel; "" is what nobody hears.
    """

    def encode(self, channel: ChatChannel, date: datetime, msg: str, sender: str, to: str) -> str:
        command = msg.strip() if sender and not to else ""
        if command not in ("/users", "/quit"):
            return plain_line(date, sender, msg)
        with suppress(InvalidUser):  # the sender has gone in the meantime
            if command == "/users":
                channel.new_system_whisper(_listing(channel.get_users()), sender)
            else:
                channel.remove_user(sender)
        return ""


def _listing(users: list[str]) -> str:
    """How many are here, and their names, as many as a message can hold.  One a line: a name may hold a comma."""
    text = f"{len(users)} here:"
    for name in users:
        if len(f"{text}\n{name}".encode()) > LISTING:
            return f"{text}\n..."
        text += f"\n{name}"
    return text


def make_app(chat: ChatServer, options: Options) -> Flask:
    """Return the application."""
    app = Flask(__name__, static_folder="go_chat_page", static_url_path="/static")
    app.after_request(harden)  # a strict Content-Security-Policy above all
    if not options.IgnoreOrigin:
        app.before_request(lambda: check_origin(request.environ, ()))
    _add_page(app)
    _add_names(app, chat)
    _add_socket(app, chat)
    _add_errors(app)
    return app


def _add_page(app: Flask) -> None:
    @app.get("/")
    @app.get("/chat_page")
    def page() -> Response:
        return app.send_static_file("page.html")


def _add_names(app: Flask, chat: ChatServer) -> None:
    """Names of channels and users come in URL-safe base64."""

    @app.post("/new_channel/<channel>")
    def new_channel(channel: str) -> Response:
        name = _channel_name(channel)
        if len(chat.channels()) >= CHANNELS:
            abort(503, "there are too many channels")
        chat.create_channel(name)
        return Response(status=204)

    @app.post("/new_token/<channel>/<username>")
    def new_token(channel: str, username: str) -> Response:
        found = chat.get_channel(_channel_name(channel))
        token = chat.request_token(_decode(username), found.name)
        return Response(token, mimetype="text/plain", headers={"Cache-Control": "no-store"})


def _channel_name(encoded: str) -> str:
    """Raises: BadRequest, also for a name that no channel can have."""
    try:
        return check_channel_name(_decode(encoded))
    except InvalidChannel as exc:
        raise BadRequest(str(exc)) from exc


def _decode(encoded: str) -> str:
    """Undo URL-safe base64, with or without its padding.  Raises: BadRequest.

    The regular expression is needed because b64decode passes over what is no base64.
    """
    try:
        if BASE64.fullmatch(encoded):
            return urlsafe_b64decode(encoded.rstrip("=") + "==").decode()
    except ValueError:  # binascii.Error and UnicodeDecodeError are such
        pass
    raise BadRequest("the name is not URL-safe base64 of UTF-8")


def _add_socket(app: Flask, chat: ChatServer) -> None:
    clock = SystemClock()
    rules = Rules.of(LIMITS, clock, lambda _conn: None)
    heartbeat = Heartbeat(LIMITS, clock)
    bounds = Bounds(write_buf=chat.conf.write_buf)

    @app.route("/chat", websocket=True)
    def enter() -> Response:
        check(request.environ)
        upgrade: Upgrade = request.environ[KEY]
        member = chat.reserve(chat.redeem(request.cookies.get("X-ChatToken", "")))
        upgrade.accept(
            lambda socket: join(socket, member),
            on_abandoned=member.cancel,
            subprotocol=None,
            bounds=bounds,
        )
        return Response(status=101)

    @app.get("/chat")
    def no_socket() -> Response:
        raise HandshakeError(426, "upgrade_required", "this address speaks WebSocket only", {"Upgrade": "websocket"})

    def join(socket: BaseSocket, member: Member) -> None:
        conn = PlainConn(socket, rules)
        heartbeat.add(conn)
        try:
            member.join(conn)
        except ChatError:  # the channel ended while the 101 was on its way
            conn.close(*CHANNEL_CLOSED)


def _add_errors(app: Flask) -> None:
    """Every error is text, as in the original, but with a status of its own."""

    @app.errorhandler(ChatError)
    def refuse(error: ChatError) -> Response:
        return _as_text(answer(error), str(error))

    @app.errorhandler(HandshakeError)
    def refuse_handshake(error: HandshakeError) -> Response:
        return _as_text(Response(status=error.status, headers=error.headers), error.message)

    @app.errorhandler(HTTPException)
    def refuse_request(error: HTTPException) -> Response:
        return _as_text(make_response(error.get_response()), error.description or error.name)


def _as_text(response: Response, message: str) -> Response:
    response.mimetype = "text/plain"
    response.set_data(f"{message}\n")
    return response


def read_options(arguments: list[str] | None = None) -> Options:
    """Read the command line, and the file it names.  Go's style: `-Port 80`, `--Port=80`, `-Debug`, `-Debug=false`."""
    parser = argparse.ArgumentParser(allow_abbrev=False, argument_default=argparse.SUPPRESS)
    add = parser.add_argument
    add("-IP", "--IP", help="address to listen on (127.0.0.1)")
    add("-Port", "--Port", type=int, help="port to listen on (8888)")
    add("-ReadSize", "--ReadSize", type=int, help="bytes read from one socket in one turn (8192)")
    add("-WriteSize", "--WriteSize", type=int, help="bytes queued for a slow client before it is dropped (1 MiB)")
    add("-IgnoreOrigin", "--IgnoreOrigin", type=_flag, nargs="?", const=True, help="let pages of other sites in")
    add("-Debug", "--Debug", type=_flag, nargs="?", const=True, help="log joins and leaves")
    add("-confFile", "--confFile", type=Path, help="JSON file with these options")
    given = vars(parser.parse_args(arguments))
    try:
        file = given.pop("confFile", None)
        kept = msgspec.json.decode(file.read_bytes(), type=dict[str, object]) if file else {}
        return msgspec.convert(kept | given, Options)
    except (OSError, msgspec.MsgspecError) as exc:
        parser.error(str(exc))


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "1", "false", "0"):
        raise argparse.ArgumentTypeError(f"true or false is wanted, not {text!r}")
    return text.lower() in ("true", "1")


def main() -> None:
    options = read_options()
    logging.basicConfig(level=logging.DEBUG if options.Debug else logging.INFO)
    conf = ServerConf(
        read_buf=options.ReadSize,
        # Files for the original say 1024: there it is a buffer, here a bound.
        write_buf=max(options.WriteSize, LIMITS.max_frame),
        controller=Commands(),
        debug_log=options.Debug,
        token_cleanup_delay=30.0,
    )
    with ChatServer(conf) as chat:
        serve(make_app(chat, options), options.IP, options.Port)


if __name__ == "__main__":
    main()
