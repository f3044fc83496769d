"""Takes secrets out of what is about to be logged.

A token may come as `?token=`, so it is in the request line, in what proxies and frameworks derive from it, under names of
their own, and in the Referer of whatever the page loads next.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

REDACTED: Final = "[redacted]"


def _encoded(character: str) -> str:
    """A percent-encoded character in a pattern; encoded once more for each URL around its own (`next=...`)."""
    return f"%(?:25)*{ord(character):x}"


_NAME: Final = "".join(f"(?:{letter}|{_encoded(letter)}|{_encoded(letter.upper())})" for letter in "token")
_BEFORE: Final = rf"(?:^|[?&#\s]|{_encoded('?')}|{_encoded('&')}|{_encoded('#')})"
_PARAMETER: Final = re.compile(rf"({_BEFORE}{_NAME}(?:=|{_encoded('=')}))[^&#\s]*", re.IGNORECASE)
_SECRETS: Final = frozenset(
    {"HTTP_AUTHORIZATION", "HTTP_PROXY_AUTHORIZATION", "HTTP_COOKIE", "HTTP_SEC_WEBSOCKET_PROTOCOL"}
)


def redact(url_or_query: str) -> str:
    """Blank the value of every query parameter named `token`, however the name is encoded."""
    if "%" not in url_or_query and ("=" not in url_or_query or "token" not in url_or_query.lower()):
        return url_or_query  # at once, as most
    return _PARAMETER.sub(rf"\1{REDACTED}", url_or_query)


def redacted_environ(environ: Mapping[str, object]) -> dict[str, object]:
    """Copy a WSGI environ, with everything blanked that can hold a secret."""
    return {key: redacted(key, value) for key, value in environ.items()}


def redacted_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Copy request headers likewise."""
    return [(name, str(redacted(f"HTTP_{name.upper().replace('-', '_')}", value))) for name, value in headers]


def redacted_response(headers: Iterable[tuple[str | bytes, str | bytes]]) -> list[tuple[str, str]]:
    """Copy response headers likewise, without cookies; pywsgi has some as bytes.  A redirect may repeat the query."""
    texts = ((as_text(name), as_text(value)) for name, value in headers)
    return [(name, redact(value)) for name, value in texts if "cookie" not in name.lower()]


def as_text(value: str | bytes) -> str:
    """The text of a header, which is latin-1 in all of WSGI."""
    return value.decode("latin-1") if isinstance(value, bytes) else value


def redacted(key: str, value: object) -> object:
    """The value of one variable of an environ, blanked where it can hold a secret."""
    if key in _SECRETS:
        return REDACTED
    return redact(value) if isinstance(value, str) else value
