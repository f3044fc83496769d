"""An embedded Valkey, for several workers that were told of no Redis: `start` has it run for as long as they do.

    def nworkers_changed(server, new, old):  # in gunicorn's configuration
        from web.valkey import start

        start(server)

gunicorn's master imports this before gevent has replaced anything, so nothing here imports more than Python brings.
"""

from web.valkey.tenancy import redis_url, revive, start

__all__ = ["redis_url", "revive", "start"]
