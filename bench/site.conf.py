"""The project's own gunicorn configuration, and tokens made at the start."""

from pathlib import Path

exec(Path("gunicorn.conf.py").read_text())


def post_worker_init(worker):
    from bench.site import app, mint

    mint(app)
