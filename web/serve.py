"""Serves an application by gevent's own server, for development: one process, no gunicorn."""

import argparse
import signal

import gevent
from flask import Flask

from web.websocket.accepting import PatientServer
from web.websocket.handler import WebSocketHandler
from web.websocket.lock import InstanceLock
from web.websocket.serving import Service, UnfitToServe, limited, services


def main(app: Flask) -> None:
    """Serve `app` where the command line says."""
    parser = argparse.ArgumentParser(description="Serve the chat for development; in production use gunicorn.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    serve(app, options.host, options.port)


def serve(app: Flask, host: str, port: int) -> None:
    """Serve until INT or TERM.  Blocks.  `monkey.patch_all()` must have been called before anything was imported."""
    try:
        for service in services():
            _take(service)
            service.start()
        handler = limited(WebSocketHandler, {service.http for service in services()})
    except UnfitToServe as exc:
        raise SystemExit(str(exc)) from exc
    server = PatientServer((host, port), app, handler_class=handler)
    server.start()
    print(f"Serving on http://{host}:{server.server_port} (for development)", flush=True)  # noqa: T201 (it is a program)
    stopping = gevent.event.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, stopping.set)
    stopping.wait()
    server.draining = True  # type: ignore[attr-defined]  # HttpHandler looks for it
    server.close()
    gevent.joinall([gevent.spawn(service.drain) for service in services()])
    server.stop(timeout=0.5)


def _take(service: Service) -> None:
    """Lock its folder until the process ends."""
    lock = InstanceLock(service.instance, shared=service.is_shared)
    if not lock.acquire():
        raise UnfitToServe(f"process {lock.holder()} serves {service.instance} already; stop it, or set CHAT_INSTANCE")
