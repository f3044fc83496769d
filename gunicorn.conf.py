"""gunicorn's configuration: `gunicorn wsgi:app` reads it from the working directory.

It runs in the master, and again at every HUP, so it imports nothing of the application.
"""

import logging
import os

logging.logThreads = False  # a greenlet's name says nothing, and making one up for each connection takes time

worker_class = "web.websocket.worker.ChatWorker"
workers = os.environ.get("CHAT_WORKERS") or os.environ.get("WEB_CONCURRENCY") or 1
worker_connections = 1000  # HTTP requests at a time; WebSockets do not count
backlog = 4096  # who waits while a successor takes over (net.core.somaxconn may cut it)
graceful_timeout = 30  # longer than CHAT_DRAIN_DELAY and CHAT_DRAIN_TIMEOUT together, which are what ends a worker
timeout = 60  # a worker that has been silent for so long is killed; one that was stopped for less goes on
accesslog = "-"
control_socket_disable = True  # it would be in the home folder, one for all instances


def nworkers_changed(server, new, old):  # noqa: ARG001 (gunicorn's signature)
    """Have an embedded Valkey run if there are several workers and no CHAT_REDIS_URL, and a folder for the metrics.

    Not on_starting: that comes after --preload has loaded the application, and not at a HUP.
    """
    from web.scoreboard import make  # which import nothing but Python's own
    from web.valkey import start

    start(server)
    make(server)


def child_exit(server, worker):
    """Have the metrics of a worker that has ended shown no more."""
    from web.scoreboard import forget  # which only then imports more than that

    forget(server, worker.pid)
