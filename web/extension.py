"""Chat in somebody's Flask application.

    chat = Chat(app, identify=lambda: current_user.name)

Making it does no I/O: no hub, greenlet, thread or descriptor before the process serves, so that gunicorn may load the
application in its master (--preload) and fork afterwards.  What serves is opened at the first use, in the process that
uses it.
"""

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import gevent
from flask import Blueprint, Flask, current_app, session
from gevent.lock import RLock

from chat.archive.sql import SqlArchive, check_url
from chat.database import Database, Schema
from chat.errors import BrokerUnavailable, InvalidUser, ServerClosed
from chat.member import ACTIONS, EVERYBODY
from chat.names import check_display_name, check_username
from chat.rate import Rate
from chat.registry.boot import VOLATILE, boot_id
from chat.registry.sql import SqlRegistry
from chat.schema import CHAT
from chat.server import ChatServer
from web import settings as configuration
from web.commands import FAULTS, PASSING, explain, make_commands
from web.draining import Draining
from web.routes.channels import add_channels
from web.routes.headers import guard
from web.routes.messages import add_messages
from web.routes.page import add_page
from web.routes.socket import add_socket
from web.routes.tokens import add_tokens
from web.settings import SettingError, Settings
from web.shortcut import add_shortcut
from web.throttle import Throttle
from web.websocket import serving
from web.websocket.gate import Gate, RightsOf
from web.websocket.limits import HttpLimits

if TYPE_CHECKING:
    from chat.fleet import Fleet

log: Final = logging.getLogger("web")

BURST: Final = 120  # tokens, channels, or pages, at once: a browser that restores its tabs wants many
HANDSHAKE_BURST: Final = 10.0  # seconds' worth of handshakes at once
REVIEWING: Final = 0.02  # seconds that a review of what is allowed still gets when everything ends

Identify = Callable[[], str | None]
DisplayName = Callable[[], str | None]
Authorize = Callable[[str, str, str], bool]


class Companion(Protocol):
    """What an application wants to run while the chat does."""

    def begin(self) -> None:
        """Begin; the database is open.  Never yields."""

    def stop(self) -> None:
        """End it.  Never yields."""


class _Running:
    """What exists only in a process that serves."""

    def __init__(self, settings: Settings, schemas: list[Schema], rights_of: RightsOf) -> None:
        self.pid = os.getpid()
        url, redis = configuration.database_url(settings), configuration.redis_url(settings)
        if settings.archive:
            check_url(url)
        self.database = Database(url, *schemas)
        archive = SqlArchive(self.database) if settings.archive else None
        registry = SqlRegistry(self.database, boot_id() if settings.archive and not redis else VOLATILE)
        self.fleet: Fleet | None = None
        if redis:
            self.fleet, self.server = _share(redis, settings, registry, archive)
        else:
            self.server = ChatServer(settings.conf, registry=registry, archive=archive)
        self.gate = Gate(settings, self.server, rights_of)
        if self.fleet is not None:
            self.fleet.watch_sessions(self.gate.close_session)
        self.draining = Draining(self.gate, self.server, archive, self.database)
        clock, rate = self.gate.clock, settings.handshake_rate
        self.tokens = Throttle(Rate.per_second(settings.token_rate, BURST), clock)
        self.channels = Throttle(Rate.per_second(settings.channel_rate, BURST), clock)
        self.pages = Throttle(Rate.per_second(settings.sockets.message_rate, BURST), clock)
        self.handshakes = Throttle(Rate.per_second(rate, max(rate * HANDSHAKE_BURST, 1.0)), clock)


def _share(url: str, settings: Settings, registry: SqlRegistry, archive: SqlArchive | None) -> tuple["Fleet", ChatServer]:
    """One of many processes.  redis-py is there only where it is wanted."""
    from chat.fleet import Fleet
    from chat.shared import make_shared_server

    fleet = Fleet(url, settings.conf.logger, prefix=settings.redis_prefix, lease=settings.redis_lease)
    return fleet, make_shared_server(settings.conf, fleet, registry=registry, archive=archive)


class Chat:
    """The extension.  `identify` tells who asks, `display_name` what others shall call them, `authorize` what they may do.

    `identify() -> str | None` is called in requests only; the default is flask-login's current user.
    `display_name() -> str | None` too; None and "" are none.  The default is none, or, where flask-login tells who asks,
    its current user's attribute `display_name`.
    `authorize(username, channel, action) -> bool` is called in an application context, when a token is asked for, at join,
    and every CHAT_REAUTHORIZE seconds for open sockets; actions are list, join, publish, whisper, edit, delete, history,
    create and moderate.  The default allows everything but moderate.  `conf` are fields of ServerConf that only code can
    express: `controller`, `logger`.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        url_prefix: str = "/chat",
        identify: Identify | None = None,
        display_name: DisplayName | None = None,
        authorize: Authorize | None = None,
        **conf: object,
    ) -> None:
        if app is not None:
            self.init_app(
                app, url_prefix=url_prefix, identify=identify, display_name=display_name, authorize=authorize, **conf
            )

    def init_app(
        self,
        app: Flask,
        *,
        url_prefix: str = "/chat",
        identify: Identify | None = None,
        display_name: DisplayName | None = None,
        authorize: Authorize | None = None,
        **conf: object,
    ) -> None:
        """Read the settings and add the blueprint `chat`.  Raises: SettingError naming what is wrong."""
        self.app = app
        self.settings = configuration.load_here(app.config, app.instance_path, **conf)
        self._identify = identify or _flask_login
        self._display_name = display_name or (_flask_login_display_name if identify is None else lambda: None)
        self._authorize = authorize
        self.schemas: list[Schema] = [CHAT]  # what is to be in the database; an application may add tables of its own
        self.companions: list[Companion] = []
        self.socket_path = f"{url_prefix.rstrip('/')}/ws"
        self._running: _Running | None = None
        self._is_drained = False
        self._starting = RLock()
        app.extensions["chat"] = self
        app.register_blueprint(self._blueprint(), url_prefix=url_prefix)
        if self.settings.fast_handshake:
            add_shortcut(app, self, self.socket_path)
        self._exempt_from_csrf()
        app.cli.add_command(make_commands(lambda: configuration.database_url(self.settings), self.schemas))
        serving.register(self)

    def _blueprint(self) -> Blueprint:
        here = Path(__file__).parent
        blueprint = Blueprint(
            "chat", __name__, template_folder=here / "templates", static_folder=here / "static", static_url_path="/static"
        )
        add_channels(blueprint, self)
        add_messages(blueprint, self)
        add_tokens(blueprint, self)
        add_socket(blueprint, self)
        add_page(blueprint, self)
        blueprint.after_request(guard)
        return blueprint

    def _exempt_from_csrf(self) -> None:
        """The JSON routes check where a request comes from themselves; a page of the host's must not have to."""
        protection = self.app.extensions.get("csrf")
        if protection is not None:
            protection.exempt(self.app.blueprints["chat"])

    # What serves

    @property
    def server(self) -> ChatServer:
        """The chat server of this process; from gunicorn's post_worker_init on."""
        return self._started().server

    @property
    def gate(self) -> Gate:
        """The WebSockets of this process."""
        return self._started().gate

    @property
    def database(self) -> Database:
        """The database, opened once for everybody in this process."""
        return self._started().database

    @property
    def tokens(self) -> Throttle:
        """How many tokens one user may ask for."""
        return self._started().tokens

    @property
    def handshakes(self) -> Throttle:
        """How many sockets may be opened from one address."""
        return self._started().handshakes

    @property
    def channels(self) -> Throttle:
        """How many channels one user may create."""
        return self._started().channels

    @property
    def pages(self) -> Throttle:
        """How many pages of history one user may ask for."""
        return self._started().pages

    def _started(self) -> _Running:
        running = self._running
        if running is None:
            if self._is_drained:
                raise ServerClosed
            self.start()
            running = self._running
            assert running is not None
        if running.pid != os.getpid():
            raise RuntimeError(
                "the chat was used before gunicorn forked its worker, where sockets and threads do not survive; "
                "use Chat.server from post_worker_init on, or in requests"
            )
        return running

    # `web.websocket.serving.Service`

    @property
    def instance(self) -> Path:
        """The folder of the database, the secret and the lock."""
        return self.settings.instance

    @property
    def is_shared(self) -> bool:
        """Whether other processes may serve it too.  Raises: SettingError."""
        return bool(configuration.redis_url(self.settings))

    @property
    def drain_delay(self) -> float:
        """Seconds between `retire` and `drain`."""
        return self.settings.drain_delay

    @property
    def http(self) -> HttpLimits:
        """What requests may take, on all routes of the process."""
        return self.settings.http

    @property
    def drain_timeout(self) -> float:
        """Seconds that `drain` may take."""
        return self.settings.drain_timeout

    @property
    def is_ready(self) -> bool:
        """Whether new users should be sent here: not once the process is about to end."""
        return not self._is_drained and not self._started().gate.retiring

    def start(self) -> None:
        """Open the database and the server.  Blocks; idempotent.  Raises: SettingError."""
        with self._starting:
            if self._running is not None:
                self._started()  # in this very process
                return
            self._exempt_from_csrf()
            try:
                self._running = _Running(self.settings, self.schemas, self.rights)
            except FAULTS as exc:
                raise SettingError(explain(exc), may_pass=isinstance(exc, PASSING)) from exc
            self._is_drained = False
            serving.register(self)  # again, after a drain
            if self._authorize is not None:
                self._reviewer = gevent.spawn(self._review)
            for companion in self.companions:
                companion.begin()

    def retire(self) -> None:
        """Be ready no more, and go on as before.  Never yields; idempotent."""
        if self._running is not None:
            self._running.gate.retire()

    def drain(self) -> None:
        """See everybody off and put everything away.  Blocks, for CHAT_DRAIN_TIMEOUT seconds at most; idempotent.

        Hooks, what hangs in the database and peers that do not answer are left behind when the time is up.
        """
        running = self._running
        if running is None or running.draining.has_begun:
            return
        running.draining.begin(self.drain_timeout)
        for companion in self.companions:
            companion.stop()
        if self._authorize is not None:
            self._reviewer.kill(timeout=REVIEWING)
        running.draining.finish()
        self._is_drained, self._running = True, None
        serving.deregister(self)

    def hurry(self) -> None:
        """Have `drain`, which is under way or about to be, end within 1.5 seconds.  Never yields."""
        if self._running is not None:
            self._running.draining.hurry()

    def close_session(self, session: str) -> None:
        """End the sockets of a login that has ended, in all processes.  Blocks."""
        if self._running is None:
            return
        self._running.gate.close_session(session)
        if self._running.fleet is not None:
            try:
                self._running.fleet.end_session(session)
            except BrokerUnavailable:
                log.error("a login has ended, and other processes could not be told: its sockets there go on")

    # Who may do what: `web.host.Host`

    def identify(self) -> str | None:
        """Who asks, None for nobody.  A name that no user can have is the host's mistake, and is logged."""
        name = self._identify()
        if name is None:
            return None
        try:
            return check_username(name)
        except InvalidUser as exc:
            log.error("identify() returned a name that nobody can have: %s", exc)
            return None

    def display_name(self) -> str | None:
        """What others shall call who asks.  A name that nobody can have is the host's mistake, is logged, and left out."""
        name = self._display_name()
        if name is None or name == "":
            return None
        try:
            return check_display_name(name)
        except InvalidUser as exc:
            log.error("display_name() returned a name that nobody can have: %s", exc)
            return None

    def session(self) -> str | None:
        """The id of the login, where the application keeps one as `sid` in its session."""
        sid = session.get("sid")
        return sid if isinstance(sid, str) else None

    def may(self, username: str, channel: str, action: str) -> bool:
        """Whether that is allowed."""
        return bool(self._allowed(username, [(channel, action)]))

    def rights(self, username: str, channel: str) -> frozenset[str]:
        """All that is allowed."""
        if self._authorize is None:
            return EVERYBODY  # one set for all members
        return frozenset(action for _, action in self._allowed(username, [(channel, action) for action in ACTIONS]))

    def visible(self, username: str, channels: Iterable[str]) -> list[str]:
        """Those that may be listed."""
        return [channel for channel, _ in self._allowed(username, [(channel, "list") for channel in channels])]

    def readable(self, username: str, channels: Iterable[str]) -> list[str]:
        """Those of which they may know what was said."""
        channels = list(channels)
        allowed = set(self._allowed(username, [(name, action) for name in channels for action in ("join", "history")]))
        return [name for name in channels if {(name, "join"), (name, "history")} <= allowed]

    def _allowed(self, username: str, asked: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those of the channels and actions that are allowed; one application context, for its end may cost the host."""
        if self._authorize is None:
            return [(channel, action) for channel, action in asked if action in EVERYBODY]
        with self.app.app_context():
            return [(channel, action) for channel, action in asked if self._authorize(username, channel, action)]

    def _review(self) -> None:
        """The greenlet that asks `authorize` again."""
        while True:
            gevent.sleep(self.settings.reauthorize)
            assert self._running is not None
            try:
                self._running.gate.review()
            except Exception:
                log.exception("authorize() failed; everybody keeps what they had")


def _flask_login() -> str | None:
    """The name of flask-login's current user: its `username`, else its id."""
    from flask_login import current_user

    if not hasattr(current_app, "login_manager"):
        raise RuntimeError("nobody says who asks: give Chat an identify=, or set up flask-login's LoginManager")
    if not current_user or not current_user.is_authenticated:
        return None
    return str(getattr(current_user, "username", None) or current_user.get_id())


def _flask_login_display_name() -> str | None:
    """The `display_name` of flask-login's current user, who has been identified before."""
    from flask_login import current_user

    return getattr(current_user, "display_name", None)
