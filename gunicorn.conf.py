"""gunicorn's configuration: `gunicorn wsgi:app` reads it from the working directory.

It runs in the master, and again at every HUP, so it imports nothing of the application.
"""

import os

worker_class = "web.websocket.worker.ChatWorker"
workers = int(os.environ.get("CHAT_WORKERS") or os.environ.get("WEB_CONCURRENCY") or 1)
worker_connections = 1000  # HTTP requests at a time; WebSockets do not count
backlog = 4096  # who waits while a successor takes over (net.core.somaxconn may cut it)
graceful_timeout = 10  # longer than CHAT_DRAIN_TIMEOUT, which is what ends a worker
accesslog = "-"
control_socket_disable = True  # it would be in the home folder, one for all instances


def on_starting(server):
    """Refuse what would be several chats that look like one.  `-w` is known only here."""
    if server.cfg.workers != 1:
        raise SystemExit(
            f"workers: {server.cfg.workers} are asked for, but this version runs one worker in one process; "
            "set CHAT_WORKERS=1 (and leave out -w)"
        )
