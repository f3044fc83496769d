"""A request that is answered with an error, and how that answer looks."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

# Of every answer that the host has not given others: nobody's script, frame, guess at a type or foreign page may use it.
GUARDS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Refusal(Exception):
    """Answer this request with `status`; `code` is for programs, `message` for people."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})

    @property
    def status_line(self) -> str:
        """As WSGI wants it: `400 Bad Request`."""
        return f"{self.status} {HTTPStatus(self.status).phrase}"

    @property
    def body(self) -> bytes:
        """The JSON that all of our errors have."""
        return json.dumps({"error": {"code": self.code, "message": self.message}}).encode()

    def answer_headers(self) -> list[tuple[str, str]]:
        """The headers of the answer, after which the connection ends."""
        return [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(self.body))),
            ("Connection", "close"),
            *GUARDS.items(),
            *self.headers.items(),
        ]


INTERNAL: Final = Refusal(500, "internal_error", "the server failed")
