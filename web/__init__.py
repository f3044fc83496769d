"""Chat for Flask: `from web import Chat`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from web.extension import Chat

__all__ = ["Chat"]


def __getattr__(name: str) -> object:
    """Load the extension when it is asked for.

    gunicorn's master imports `web.websocket.worker`, and with it this package; the application and its libraries must
    come later, in the worker, when gevent has replaced what they build on.
    """
    if name == "Chat":
        from web.extension import Chat

        return Chat
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
