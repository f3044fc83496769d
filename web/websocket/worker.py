"""gunicorn's worker: `gunicorn -k web.websocket.worker.ChatWorker`.

Beyond gunicorn's own gevent worker it upgrades WebSockets, which then use up none of `worker_connections`; waits for the
predecessor's lock before it serves, and at a restart for a database that is away; on TERM, INT, QUIT and HUP sees
everybody off before it ends; and looks after the supervisor of an embedded Valkey, if there is one.
"""

import gc
import resource
import signal
import sys
import time
from typing import Final

import gevent
from gevent import pywsgi
from gevent.event import Event as Flag
from gevent.pool import Pool
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http.wsgi import base_environ
from gunicorn.sock import ssl_context
from gunicorn.workers.ggevent import VERSION, GeventPyWSGIWorker, PyWSGIHandler, PyWSGIServer

from web.valkey import redis_url, revive
from web.websocket.accepting import PatientServer
from web.websocket.access import Atoms, formats_itself, write_line
from web.websocket.handler import WebSocketHandler
from web.websocket.lock import InstanceLock
from web.websocket.redact import redacted_environ, redacted_headers, redacted_response
from web.websocket.serving import Service, UnfitToServe, limited, services
from web.websocket.tls_server import TlsMixin

LAST_REQUESTS: Final = 0.3  # seconds for HTTP requests that are still under way when all sockets are closed
LOCK_POLL: Final = 0.05  # seconds between two looks at the predecessor's lock
# A full collection looks at all that every connection has, 10 ms for each thousand of them, in which nobody is heard.  What
# connections leave behind needs none, and what requests do is found by the younger generations, so it may come seldom.
GC_THRESHOLDS: Final = (1000, 10, 50)
GC_UNSET: Final = gc.get_threshold()
START_POLL: Final = 1.0  # seconds between two attempts to start
START_WAIT: Final = 300.0  # seconds that a restart waits for a database: one that is upgraded is back by then


class GunicornHandler(WebSocketHandler, PyWSGIHandler):  # type: ignore[misc]  # gunicorn has no types
    """With gunicorn's access log, without secrets in it."""

    server: "GunicornServer"
    is_prompt = True  # gunicorn sees to that

    def log_request(self) -> None:
        if not self.server.log.access_log_enabled:  # type: ignore[attr-defined]  # through pywsgi's wrapper
            return
        log = self.server.plain_log
        if log is not None:
            write_line(log, Atoms(self))
            return
        kept = self.environ, self.headers, self.response_headers
        self.environ = redacted_environ(self.environ or {})
        self.headers = pywsgi.OldMessage()
        for name, value in redacted_headers(self._head.headers):
            self.headers[name] = value
        self.response_headers = redacted_response(self.response_headers or [])
        try:
            super().log_request()
        finally:
            self.environ, self.headers, self.response_headers = kept


class GunicornServer(TlsMixin, PatientServer, PyWSGIServer):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's, with manners over TLS and without descriptors."""

    plain_log: Logger | None = None
    """gunicorn's log, where it makes a line of its format and nothing else; pywsgi's `log` wraps it."""


class ChatWorker(GeventPyWSGIWorker):  # type: ignore[misc]  # gunicorn has no types
    """One process that carries WebSockets."""

    server_class = GunicornServer
    wsgi_handler = GunicornHandler

    @staticmethod
    def check_config(cfg: Config, log: Logger) -> None:  # noqa: ARG004 (gunicorn's signature)
        """Refuse what would be several chats that look like one; gunicorn asks in its master, at the start."""
        if cfg.workers > 1 and not redis_url():
            raise SystemExit(
                f"workers: {cfg.workers} are asked for, but there is no CHAT_REDIS_URL in the environment; set it, or have "
                "web.valkey.start called by nworkers_changed in gunicorn's configuration, as in our gunicorn.conf.py, "
                "or set CHAT_WORKERS=1 and leave out -w"
            )

    def init_process(self) -> None:
        self._locks: list[InstanceLock] = []
        self._stop = Flag()
        self._hurry = Flag()  # no delay any more
        # Up to here a signal goes to the master's handlers, forked along, and is lost.  gunicorn's own are set only when
        # everything is patched, a tenth of a second from here.
        signal.signal(signal.SIGTERM, self.handle_exit)
        signal.signal(signal.SIGQUIT, self.handle_quit)
        signal.signal(signal.SIGINT, self.handle_quit)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the application, wait for our turn, and start what it registered."""
        try:
            super().load_wsgi()
            self.wsgi_handler = limited(self.wsgi_handler, {service.http for service in services()})
            for service in services():
                self._await_lock(service)
                self._start(service)
        except UnfitToServe as exc:
            self.log.error("%s", exc)
            sys.exit(Arbiter.WORKER_BOOT_ERROR)

    def _await_lock(self, service: Service) -> None:
        lock = InstanceLock(service.instance, shared=service.is_shared)
        self._locks.append(lock)
        if lock.acquire():
            return
        self.log.info("Worker %s waits for process %s, which has %s", self.pid, lock.holder(), lock.path)
        while not lock.acquire():
            self.notify()
            if self._stop.wait(LOCK_POLL):
                sys.exit(0)
        self.log.info("Worker %s goes on: it has %s now", self.pid, lock.path)

    def _start(self, service: Service) -> None:
        """Start it.  The first worker fails at once, before whoever started it; of later ones a failure would end gunicorn
        at night, so they wait for what may come back."""
        deadline = time.monotonic() + START_WAIT
        is_told = False
        while True:
            try:
                service.start()
                return
            except UnfitToServe as exc:
                if self.age == 1 or not exc.may_pass or time.monotonic() >= deadline:
                    raise
                if not is_told:
                    self.log.warning("Worker %s tries again for %d seconds: %s", self.pid, START_WAIT, exc)
                is_told = True
            self.notify()
            if self._stop.wait(START_POLL):
                sys.exit(0)

    def run(self) -> None:
        """Serve until a signal comes."""
        self._check_patience()
        servers = [self._serve(listener) for listener in self.sockets]
        # What is there now stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        if gc.get_threshold() == GC_UNSET:  # the application has not set its own
            gc.set_threshold(*GC_THRESHOLDS)
        while self.alive:
            self.notify()
            revive(self.log)
            self._stop.wait(1.0)
        self._retire()
        self._drain(servers)

    def _check_patience(self) -> None:
        """gunicorn kills a worker that takes longer to end than it was told."""
        wanted = max((service.drain_delay + service.drain_timeout for service in services()), default=0.0)
        if self.cfg.graceful_timeout <= wanted:
            self.log.warning(
                "graceful_timeout is %s: gunicorn would kill this worker before it has seen everybody off; "
                "set it above %g, which is CHAT_DRAIN_DELAY and CHAT_DRAIN_TIMEOUT together",
                self.cfg.graceful_timeout,
                wanted,
            )

    def _serve(self, listener: gevent.socket.socket) -> PyWSGIServer:
        listener.setblocking(True)
        environ = base_environ(self.cfg) | {"wsgi.multithread": True, "SERVER_SOFTWARE": VERSION}
        server = self.server_class(
            listener,
            application=self.wsgi,
            spawn=Pool(self.worker_connections),
            log=self.log,
            handler_class=self.wsgi_handler,
            environ=environ,
            **({"ssl_context": ssl_context(self.cfg)} if self.cfg.is_ssl else {}),
        )
        server.plain_log = self.log if formats_itself(self.log) else None
        server.start()
        return server

    def _retire(self) -> None:
        """Say that we are not ready, and give load balancers time to ask.  Until then everything goes on."""
        for service in services():
            service.retire()
        deadline = time.monotonic() + max((service.drain_delay for service in services()), default=0.0)
        while (rest := deadline - time.monotonic()) > 0 and not self._hurry.wait(min(rest, 1.0)):
            self.notify()

    def _drain(self, servers: list[PyWSGIServer]) -> None:
        """New connections wait in the backlog for a successor; everything that is open comes to an end."""
        for server in servers:
            server.draining = True
            server.close()
        leaving = [gevent.spawn(self._drain_service, service) for service in services()]
        while not all(greenlet.ready() for greenlet in leaving):
            self.notify()
            gevent.joinall(leaving, timeout=1.0)
        for server in servers:
            server.stop(timeout=LAST_REQUESTS)
        for lock in self._locks:
            lock.release()

    def _drain_service(self, service: Service) -> None:
        try:
            service.drain()
        except Exception:
            self.log.exception("Could not end in good order")

    # Signals come in whatever greenlet runs, the hub perhaps, so these must not block.

    def handle_exit(self, sig: int, frame: object) -> None:  # noqa: ARG002
        self.alive = False
        self._stop.set()

    def handle_quit(self, sig: int, frame: object) -> None:
        if not self.alive and not self._hurry.is_set():
            for service in services():  # after TERM gunicorn kills us two seconds from here
                service.hurry()
        self._hurry.set()
        self.handle_exit(sig, frame)
