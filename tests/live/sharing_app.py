"""Without a chat: workers that share, if they know of a Redis when this is loaded, and that take NAP seconds to end."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from redis import Redis

from web.websocket import serving
from web.websocket.limits import HttpLimits

URL = os.environ.get("CHAT_REDIS_URL", "")


class Sharing:
    instance = Path(os.environ["CHAT_INSTANCE"])
    is_shared = bool(URL)
    http = HttpLimits()
    drain_delay = 0.0
    drain_timeout = 3.0

    def start(self) -> None: ...

    def retire(self) -> None: ...

    def hurry(self) -> None: ...

    def drain(self) -> None:
        time.sleep(float(os.environ.get("NAP", "0")))  # gevent's
        if URL:
            print(f"drained as number {Redis.from_url(URL).incr('drained')}.\n", end="", file=sys.stderr)


sharing = Sharing()
serving.register(sharing)


def app(environ: dict[str, object], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Whether it shares; `/sleep` starts a program that stays, and tells its process id."""
    answer = str(URL and os.environ["CHAT_WORKERS"])
    if environ["PATH_INFO"] == "/sleep":
        answer = str(subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer.encode()]
