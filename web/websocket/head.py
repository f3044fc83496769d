"""Reads the head of an HTTP request, within limits.

pywsgi reads it through `http.client`, which bounds a line but not their sum, takes folded lines and lines without a colon,
and joins two Content-Lengths to one.  What is doubtful here is refused: where two parsers disagree about where a request
ends, one user's request can be smuggled into another's (RFC 9112 section 11.2).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader
from typing import Final

from web.websocket.refusal import Refusal

# RFC 9112 section 3, and RFC 9110 sections 5.5 and 5.6.2.  HTTP/0.9 has no version, HTTP/2 another one.
_LINE: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [^\x00-\x20\x7f]+ HTTP/1\.[0-9]")
_HEADER: Final = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0a-\x1f\x7f]*)")
_DIGITS: Final = re.compile(r"[0-9]{1,18}")
_SINGLE: Final = ("content-length", "transfer-encoding", "host")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a head may take."""

    line: int = 8192
    """Bytes of the request line, as in nginx and gunicorn (8 KiB, 4 KiB)."""
    headers: int = 32768
    """Bytes of all header lines; nginx takes 4 x 8 KiB."""
    count: int = 100
    """Header lines; the same in gunicorn and `http.client`."""


class BadRequest(Refusal):
    """The head of a request that we do not read any further."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request line and its headers, in order, decoded as latin-1 like all of WSGI."""

    line: str
    headers: list[tuple[str, str]]


def read_head(stream: BufferedReader, limits: Limits) -> Head:
    """Read one head, the empty line included.  Blocks.

    Raises: BadRequest; EOFError when the client hangs up in the middle of it.
    """
    line = _read_line(stream, limits.line + 2, _too_long).rstrip("\n").removesuffix("\r")
    if len(line) > limits.line:
        raise _too_long()
    if not _LINE.fullmatch(line):
        raise _malformed("this is no request line of HTTP/1.1")
    headers = _read_headers(stream, limits)
    _check_framing(headers)
    return Head(line, headers)


def _read_line(stream: BufferedReader, limit: int, otherwise: Callable[[], BadRequest]) -> str:
    """Read a line of at most `limit` bytes, its end included."""
    raw = stream.readline(limit + 1)
    if len(raw) > limit:
        raise otherwise()
    if not raw.endswith(b"\n"):
        raise EOFError
    return raw.decode("latin-1")


def _read_headers(stream: BufferedReader, limits: Limits) -> list[tuple[str, str]]:
    headers: list[tuple[str, str]] = []
    left = limits.headers
    while True:
        line = _read_line(stream, left, _too_large)
        left -= len(line)
        if line in ("\r\n", "\n"):
            return headers
        if len(headers) == limits.count:
            raise _too_large()
        headers.append(_parse_header(line))


def _parse_header(line: str) -> tuple[str, str]:
    match = _HEADER.fullmatch(line.rstrip("\n").removesuffix("\r"))
    if match is None:
        raise _malformed("a header line is malformed")
    return match[1], match[2].strip(" \t")


def _check_framing(headers: list[tuple[str, str]]) -> None:
    """Make sure there is no doubt about where the request ends, and whom it is for."""
    found: dict[str, str] = {}
    for name, value in headers:
        name = name.lower()
        if name in _SINGLE and name in found:
            raise _malformed("a header came twice that may come only once")
        found[name] = value
    length, coding = found.get("content-length"), found.get("transfer-encoding")
    if length is not None and (coding is not None or not _DIGITS.fullmatch(length)):
        raise _malformed("the length of the body is in doubt")
    if coding is not None and coding.lower() != "chunked":
        raise _malformed("the only transfer coding is chunked")


def _malformed(message: str) -> BadRequest:
    return BadRequest(400, "bad_request", message)


def _too_long() -> BadRequest:
    return BadRequest(414, "uri_too_long", "the request line is too long")


def _too_large() -> BadRequest:
    return BadRequest(431, "headers_too_large", "the headers are too long, or too many")
