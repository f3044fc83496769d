"""The project's own gunicorn configuration, and tokens for a test."""

from pathlib import Path

exec(Path("gunicorn.conf.py").read_text())


def post_worker_init(worker):
    from tests.live.minting_app import app, mint

    mint(app)
