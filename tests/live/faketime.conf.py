"""gunicorn's configuration for a master under libfaketime, which refuses what `time.sleep` asks of it (clock_nanosleep)."""

import runpy
import select
import time

globals().update(runpy.run_path("gunicorn.conf.py"))
time.sleep = lambda seconds: select.select([], [], [], seconds) and None
