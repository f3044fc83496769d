"""Calls the application's hooks, and keeps what goes wrong in them away from the channel.

What a hook may be is told in `chat.controller`, which lies above: hooks are found by their names.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from logging import Logger
from typing import Final, TypeVar

import gevent
from gevent import Timeout

from chat.errors import BadText, ChannelClosed, HookFailed
from chat.names import check_text

T = TypeVar("T")

NO_LIMIT: Final = 1 << 62  # an encoder may make a text longer: the limit is for what users say


class Hooks:
    """The hooks that a controller object has, for one channel; `running` while one of them runs."""

    def __init__(self, controller: object | None, log: Logger) -> None:
        self._encode: Callable[..., object] | None = getattr(controller, "encode", None)
        self._on_connect: Callable[..., object] | None = getattr(controller, "on_connect", None)
        self._on_disconnect: Callable[..., object] | None = getattr(controller, "on_disconnect", None)
        self._log = log
        self.running = False

    def shield(self, work: Callable[[], T]) -> T:
        """Return `work()`, where no deadline strikes that a hook has left behind in this greenlet; one that does is logged.

        Of a call that a deadline cuts short nobody could tell what it has done.  Blocks.  Raises: what `work` raises.
        """
        if not (self.encodes or self.greets or self.waves):
            return work()
        working = gevent.spawn(_tried, work)
        while not working.ready():
            try:
                working.join()
            except Timeout:
                self._log.exception("a hook has left a deadline behind")
        result, error = working.get()
        if error is not None:
            raise error
        return result  # type: ignore[return-value]

    @property
    def encodes(self) -> bool:
        """Whether texts are rendered by the application."""
        return self._encode is not None

    @property
    def greets(self) -> bool:
        """Whether the application speaks when somebody comes, in place of the default notice."""
        return self._on_connect is not None

    @property
    def waves(self) -> bool:
        """Whether it speaks when somebody goes."""
        return self._on_disconnect is not None

    def encode(self, channel: object, date: datetime, msg: str, sender: str, to: str) -> str:
        """Return what the encoder makes of `msg`.  Raises: HookFailed, once the fault is logged."""
        assert self._encode is not None
        try:
            with self._run():
                return check_text(self._encode(channel, date, msg, sender, to), NO_LIMIT)
        except BadText as exc:
            self._log.error("encode returned no text that can be sent")
            raise HookFailed from exc
        except (Exception, Timeout) as exc:  # a Timeout is no Exception
            self._log.exception("encode failed")
            raise HookFailed from exc

    def connected(self, channel: object, username: str) -> None:
        """Call on_connect, if there is one; a fault is logged."""
        self._call(self._on_connect, "on_connect", channel, username)

    def disconnected(self, channel: object, username: str) -> None:
        """Call on_disconnect, if there is one; a fault is logged."""
        self._call(self._on_disconnect, "on_disconnect", channel, username)

    def _call(self, hook: Callable[..., object] | None, name: str, channel: object, username: str) -> None:
        if hook is None:
            return
        try:
            with self._run():
                hook(channel, username)
        except ChannelClosed:
            self._log.debug("%s spoke in a channel that has ended", name)
        except (Exception, Timeout):
            self._log.exception("%s failed", name)

    @contextmanager
    def _run(self) -> Iterator[None]:
        self.running = True
        try:
            yield
        finally:
            self.running = False


def _tried(work: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    """What ends a greenlet is printed by gevent, so it is handed over as a value."""
    try:
        return work(), None
    except (Exception, Timeout) as exc:
        return None, exc
