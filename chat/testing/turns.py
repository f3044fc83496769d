"""Greenlets taking turns: waiting for the others, forbidding them, and finding those that have not ended."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import gevent
import greenlet

from chat.turn import yield_turn

DEADLINE: Final = 2.0  # seconds for anything that a test waits for; on an idle machine it takes a thousandth of it


def wait_until(is_so: Callable[[], object], timeout: float = DEADLINE) -> None:
    """Ask again, each time the others had their turn, until it is so.  Raises: AssertionError after `timeout` seconds."""
    with gevent.Timeout(timeout, AssertionError("it never came to be so")):
        while not is_so():
            yield_turn()


@contextmanager
def never_yields() -> Iterator[None]:
    """Fail when there is a switch of greenlets inside."""
    switches: list[object] = []
    before = greenlet.settrace(lambda event, args: switches.append((event, args)))
    try:
        yield
    finally:
        greenlet.settrace(before)
    if switches:
        raise AssertionError(f"it yielded: {switches}")


@contextmanager
def no_greenlet_left(timeout: float = DEADLINE) -> Iterator[None]:
    """Fail when a greenlet of `chat` or `web` that was started inside has not ended, `timeout` seconds later at most.

    May be nested.  What is frozen already stays so, by `gc.freeze`; what is frozen inside is not looked at.
    """
    is_ours = gc.get_freeze_count() == 0
    if is_ours:
        gc.freeze()  # so that only what is made from now on has to be looked through
    before = chat_greenlets()
    try:
        yield
        left = [found for found in chat_greenlets() if found not in before]
    finally:
        if is_ours:
            gc.unfreeze()
    gevent.joinall(left, timeout=timeout)
    stuck = [found for found in left if not found.dead]
    if stuck:
        told = f"still running: {stuck}"
        gevent.killall(stuck)  # so that the next test does not fail for it
        raise AssertionError(told)


def chat_greenlets() -> "list[gevent.Greenlet[..., object]]":
    """Those of `chat` and `web` that have not ended.  Those that `gc.freeze` has put aside are not looked at."""
    return [
        found
        for found in gc.get_objects()
        if type(found) is gevent.Greenlet
        and not found.dead
        and (getattr(found._run, "__module__", None) or "").startswith(("chat.", "web."))  # type: ignore[attr-defined]
    ]
