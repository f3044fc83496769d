"""An application with chat in it, served in this process on a free port of the loopback."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Final, TypeVar

from flask import Flask
from flask.testing import FlaskClient
from gevent.pywsgi import WSGIServer

from chat.errors import ServerClosed
from chat.server import ChatServer
from chat.testing import wait_until
from web.extension import Chat
from web.testing.caller import Answer, Caller, Refused
from web.testing.chatter import Chatter
from web.websocket.handler import WebSocketHandler
from web.websocket.serving import limited
from web.websocket.upgrade import KEY, Upgrade

STOP_DEADLINE: Final = 1.0  # seconds for requests that are still answered

C = TypeVar("C", bound=Caller)


class Site:
    """An application that is served.  Whoever calls is hung up on in the end."""

    def __init__(self, chat: Chat, port: int) -> None:
        self.chat = chat
        self.port = port
        self._callers: list[Caller] = []

    @property
    def url(self) -> str:
        """Where it is: `http://127.0.0.1:port`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def server(self) -> ChatServer:
        """The chat server: channels, tokens."""
        return self.chat.server

    def client(self) -> FlaskClient:
        """A test client of Flask's, with cookies of its own; it is shown the page, as by a server that carries sockets."""
        client = self.chat.app.test_client()
        client.environ_base[KEY] = Upgrade(requested=False)  # type: ignore[assignment]  # the stubs know only texts
        return client

    def token(self, channel: str, who: str | FlaskClient) -> str:
        """A token for a user of that name, or for the one whose test client of Flask's asks for it.  Raises: Refused."""
        if isinstance(who, str):
            return self.server.request_token(who, channel)
        path = self.chat.socket_path.removesuffix("/ws") + "/token"
        response = who.post(path, json={"channel": channel})
        if response.status_code != 200:
            headers = {name.lower(): value for name, value in response.headers}
            raise Refused(Answer(response.status_code, headers, response.get_data()))
        return str(response.get_json()["token"])

    def enter(self, channel: str, who: str | FlaskClient, *, query: str = "") -> Chatter:
        """Let somebody into a channel over chat.v1; `query` is `epoch=...&offset=...` for one that comes back.

        A name needs no login.  Raises: Refused.
        """
        chatter = self._keep(Chatter(self.port, channel))
        chatter.enter(self.chat.socket_path, self.token(channel, who), query)
        return chatter

    def enter_plain(self, channel: str, who: str | FlaskClient) -> Caller:
        """The same with plain text.  Raises: Refused."""
        headers = {"Authorization": f"Bearer {self.token(channel, who)}"}
        caller = self.dial(manners=True)
        caller.shake_hands(self.chat.socket_path, headers=headers)
        return caller

    def dial(self, *, manners: bool = False) -> Caller:
        """Connect, and say nothing yet."""
        return self._keep(Caller(self.port, manners=manners))

    def _keep(self, caller: C) -> C:
        self._callers.append(caller)
        return caller

    def close(self) -> None:
        """Hang up on everybody, and let the server notice."""
        for caller in self._callers:
            caller.hang_up()
        with suppress(ServerClosed):  # the test has drained it
            wait_until(lambda: not len(self.chat.gate))


@contextmanager
def serve(app: Flask, *, database: str | None = "sqlite://") -> Iterator[Site]:
    """Serve `app`, and drain its chat in the end; an application may be served again then.

    The chat's tables are in memory unless `database` says where; None is where the application says.
    """
    chat = app.extensions.get("chat")
    if not isinstance(chat, Chat):
        raise TypeError("app: there is no Chat in it; call Chat(app), or Chat().init_app(app), before")
    server = WSGIServer(
        ("127.0.0.1", 0), app, handler_class=limited(WebSocketHandler, {chat.http}), log=None, error_log=None
    )
    with ExitStack() as stack:
        stack.callback(setattr, chat, "settings", chat.settings)
        if database is not None:
            chat.settings = replace(chat.settings, database_url=database)
        chat.start()
        stack.callback(chat.drain)
        server.start()
        stack.callback(server.stop, timeout=STOP_DEADLINE)
        assert server.server_port is not None
        site = Site(chat, server.server_port)
        stack.callback(site.close)
        yield site
