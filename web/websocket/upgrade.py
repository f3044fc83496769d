"""What a view and the server agree on: that this request becomes a WebSocket, and on what terms.

It is found in the environ as `web.websocket`.  An object, because middleware copies the environ and what is put into a copy
never comes back.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from web.websocket.base import BaseSocket
from web.websocket.limits import Bounds

KEY: Final = "web.websocket"
SWITCHING: Final = "101 Switching Protocols"

_LOGGER: Final = logging.getLogger("web.websocket")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What `Upgrade.accept` was called with."""

    on_open: Callable[[BaseSocket], None]
    on_abandoned: Callable[[], None]
    subprotocol: str | None
    bounds: Bounds
    compression: bool


class Upgrade:
    """Whether an upgrade is asked for, and whether it will be had."""

    __slots__ = ("_terms", "requested")

    def __init__(self, requested: bool) -> None:
        self.requested = requested
        self._terms: Terms | None = None

    def accept(
        self,
        on_open: Callable[[BaseSocket], None],
        *,
        on_abandoned: Callable[[], None],
        subprotocol: str | None,
        bounds: Bounds,
        compression: bool = False,
    ) -> None:
        """Agree, in a view that then returns status 101; the handshake has passed `handshake.check`.

        Either `on_open` is called once the 101 is sent, with a socket that is yet to be started, or `on_abandoned`: when
        the real status is another one after all, the application raises, or the client has gone.  `compression` agrees to
        permessage-deflate where the client offers it.
        """
        if not self.requested or self._terms is not None:
            raise RuntimeError("no upgrade is asked for, or it was accepted before")
        self._terms = Terms(
            on_open=on_open,
            on_abandoned=on_abandoned,
            subprotocol=subprotocol,
            bounds=bounds,
            compression=compression,
        )

    @property
    def terms(self) -> Terms | None:
        """What was agreed on, until it is opened or abandoned."""
        return self._terms

    def open(self, socket: BaseSocket) -> None:
        """Hand over the socket."""
        terms, self._terms = self._terms, None
        assert terms is not None
        try:
            terms.on_open(socket)
        except Exception:
            _LOGGER.exception("what takes over a WebSocket failed")
            socket.close(1011, "internal error")

    def abandon(self) -> None:
        """Give up, unless it was opened; idempotent."""
        terms, self._terms = self._terms, None
        if terms is None:
            return
        try:
            terms.on_abandoned()
        except Exception:
            _LOGGER.exception("what hears of an abandoned WebSocket failed")
