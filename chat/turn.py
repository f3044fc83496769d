"""A turn for everybody else.

`gevent.sleep(0)` is none: it runs the greenlets that are ready, this one among them, and as long as some are, a thousand
times over, nobody looks at the sockets or at the timers.
"""

from gevent import get_hub


def yield_turn() -> None:
    """Let all greenlets that are ready run, and the hub look at its sockets and timers.  Blocks, for that long.

    What a socket has brought is heard before the next call returns.
    """
    hub = get_hub()
    timer = hub.loop.timer(0)
    try:
        hub.wait(timer)
    finally:
        timer.close()
