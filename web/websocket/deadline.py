"""A block that simply ends when its time is up."""

import gevent


def at_most(seconds: float) -> gevent.Timeout:
    """Use as `with at_most(1.0):`; what comes after the block cannot tell whether it was cut short."""
    return gevent.Timeout(seconds, False)  # type: ignore[arg-type]  # the stubs do not know False
