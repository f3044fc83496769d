"""Reads the head of an HTTP request, within limits.

pywsgi reads it through `http.client`, which bounds a line but not their sum, takes folded lines and lines without a colon,
and joins two Content-Lengths to one.  What is doubtful here is refused: where two parsers disagree about where a request
ends, one user's request can be smuggled into another's (RFC 9112 section 11.2).
"""

import re
from io import BufferedReader
from typing import Final, NamedTuple

from web.websocket.limits import HttpLimits
from web.websocket.refusal import Refusal

# RFC 9112 sections 2.2 and 3, and RFC 9110 sections 5.5 and 5.6.2.  HTTP/0.9 has no version, HTTP/2 another one.
_END: Final = re.compile(rb"\n\r?\n")
_LINE: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [^\x00-\x20\x7f]+ HTTP/1\.[0-9]")
_HEADER: Final = re.compile(r"^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0a-\x1f\x7f]*)\r?\n", re.MULTILINE)
_DIGITS: Final = re.compile(r"[0-9]{1,18}")
_SINGLE: Final = ("CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_TRANSFER_ENCODING", "HTTP_HOST", "HTTP_AUTHORIZATION")


class BadRequest(Refusal):
    """The head of a request that we do not read any further."""


class Head(NamedTuple):
    """A request line and its headers, in order, decoded as latin-1 like all of WSGI."""

    line: str
    method: str
    target: str
    version: str
    headers: list[tuple[str, str]]
    variables: dict[str, str]
    """The headers by their names in the environ; what has an underscore could pose as another one, and is left out."""


BLANK: Final = Head("", "", "", "HTTP/1.1", [], {})
"""Of a request that could not be read."""


def end_of_head(data: bytes, start: int = 0) -> int:
    """Return how many of these bytes are a head, the empty line included; 0 while it has not come."""
    found = _END.search(data, start)
    return found.end() if found else 0


def read_head(stream: BufferedReader, limits: HttpLimits) -> Head:
    """Read one head, the empty line included, and nothing behind it.  Blocks.

    Raises: BadRequest; EOFError when the client hangs up in the middle of it.
    """
    data = b""
    while True:
        more = stream.peek()
        if not more:
            raise EOFError
        size = end_of_head(data + more, max(len(data) - 2, 0))
        is_seen = b"\n" in data
        data += stream.read(size - len(data) if size else len(more))
        line, is_whole, fields = _split(data, limits)  # of an unfinished head too, for it may be the beginning of too much
        if is_whole and not is_seen and not _LINE.fullmatch(line):  # once, however slowly the rest drips in
            raise _malformed("this is no request line of HTTP/1.1")
        if size:
            return _parse(line, fields, limits)


def _split(data: bytes, limits: HttpLimits) -> tuple[str, str, str]:
    """Part the request line from the rest, within limits; between them is its end, "" while it has not come."""
    line, is_whole, fields = data.decode("latin-1").partition("\n")
    line = line.removesuffix("\r")
    if len(line) > limits.request_line:
        raise BadRequest(414, "uri_too_long", "the request line is too long")
    if len(fields) > limits.header_bytes:
        raise _too_large()
    return line, is_whole, fields


def _parse(line: str, fields: str, limits: HttpLimits) -> Head:
    found = _HEADER.findall(fields)
    if len(found) != fields.count("\n") - 1:  # all but the empty line
        raise _malformed("a header line is malformed")
    if len(found) > limits.header_count:
        raise _too_large()
    headers = [(name, value.strip(" \t")) for name, value in found]
    variables = _variables(headers)
    _check_framing(variables)
    method, target, version = line.split(" ")
    return Head(line, method, target, version, headers, variables)


def _variables(headers: list[tuple[str, str]]) -> dict[str, str]:
    """What WSGI makes of the headers; those that came twice are joined."""
    variables: dict[str, str] = {}
    for name, value in headers:
        if "_" in name:
            continue
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        if key not in variables:
            variables[key] = value
        elif key in _SINGLE:
            raise _malformed("a header came twice that may come only once")
        else:
            variables[key] += ("; " if key == "HTTP_COOKIE" else ",") + value
    return variables


def _check_framing(variables: dict[str, str]) -> None:
    """Make sure there is no doubt about where the request ends."""
    length, coding = variables.get("CONTENT_LENGTH"), variables.get("HTTP_TRANSFER_ENCODING")
    if length is not None and (coding is not None or not _DIGITS.fullmatch(length)):
        raise _malformed("the length of the body is in doubt")
    if coding is not None and coding.lower() != "chunked":
        raise _malformed("the only transfer coding is chunked")


def _malformed(message: str) -> BadRequest:
    return BadRequest(400, "bad_request", message)


def _too_large() -> BadRequest:
    return BadRequest(431, "headers_too_large", "the headers are too long, or too many")
