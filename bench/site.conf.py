"""The project's own gunicorn configuration, and tokens made at the start, by the first worker for all."""

import os
from pathlib import Path

exec(Path("gunicorn.conf.py").read_text())


def post_worker_init(worker):
    from bench.site import app, mint

    if worker.age == 1 or worker.cfg.workers == 1:
        mint(app)
    Path(f"{os.environ['MINT_PATH']}.{worker.pid}.serves").touch()
