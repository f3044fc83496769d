"""What gunicorn's access log may name, worked out when it is named, without secrets.

gunicorn prepares every header and every variable of the environ for each line, although its usual format names none of
them; that takes longer than the rest of the line.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from gunicorn.glogging import Logger

from web.websocket.redact import as_text, redacted, redacted_response


class Answered(Protocol):
    """What a handler knows of a request that it has answered."""

    environ: Mapping[str, object]
    response_headers: list[tuple[str, str]] | None
    response_length: int
    status: str | bytes | None
    time_start: float
    time_finish: float


def formats_itself(log: Logger) -> bool:
    """Whether `log` makes a line of what its format names, and of nothing else: nobody has put anything of theirs in."""
    cfg, access = log.cfg, log.access_log
    configured = cfg.logconfig or cfg.logconfig_dict or cfg.logconfig_json
    if type(log) is not Logger or log.access_fmt != "%(message)s" or configured or access.filters or access.propagate:
        return False
    return all(
        type(handler) in (logging.StreamHandler, logging.FileHandler)
        and type(handler.formatter) is logging.Formatter
        and not handler.filters
        and handler.level == logging.NOTSET
        for handler in access.handlers
    )


def write_line(log: Logger, atoms: "Atoms") -> None:
    """Write what the format makes of `atoms`; without a record of logging's, of which no line tells more."""
    if not log.access_log.isEnabledFor(logging.INFO):
        return
    try:
        line = log.cfg.access_log_format % atoms + "\n"
        for handler in log.access_log.handlers:  # without its lock: requests are answered in one thread
            handler.stream.write(line)
            handler.stream.flush()
    except Exception:  # as gunicorn does: a full disk must not cost the request
        log.exception("the access log failed")


class Atoms(dict[str, object]):
    """The values for `access_log_format`, by gunicorn's letters; `-` for what it does not know."""

    def __init__(self, request: Answered) -> None:
        super().__init__()
        self.request = request

    def __missing__(self, name: str) -> object:
        if name.startswith("{"):
            value = self._named(name[1:].partition("}")[0].lower(), name[-1])
        else:
            value = _LETTERS[name](self) if name in _LETTERS else "-"
        return value.replace('"', '\\"') if isinstance(value, str) else value

    def of(self, key: str) -> object:
        """A variable of the environ."""
        return redacted(key, self.request.environ.get(key, "-"))

    @property
    def micros(self) -> int:
        """What the request took."""
        return int((self.request.time_finish - self.request.time_start) * 1e6)

    def _named(self, name: str, kind: str) -> object:
        """A header of the request, kind i, or of the response, o, or a variable of the environ, e."""
        if kind == "o":
            headers = redacted_response(self.request.response_headers or ())
            return next((value for header, value in headers if header.lower() == name), "-")
        if kind == "e":
            keys = (key for key in self.request.environ if key.lower() == name)
            return self.of(next(keys, name))
        key = name.upper().replace("-", "_")
        return self.of(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}")


_LETTERS: Final[Mapping[str, Callable[[Atoms], object]]] = {
    "h": lambda atoms: atoms.of("REMOTE_ADDR"),
    "t": lambda _: time.strftime("[%d/%b/%Y:%H:%M:%S %z]"),
    "r": lambda atoms: f"{atoms.of('REQUEST_METHOD')} {atoms.of('RAW_URI')} {atoms.of('SERVER_PROTOCOL')}",
    "m": lambda atoms: atoms.of("REQUEST_METHOD"),
    "U": lambda atoms: atoms.of("PATH_INFO"),
    "q": lambda atoms: atoms.of("QUERY_STRING"),
    "H": lambda atoms: atoms.of("SERVER_PROTOCOL"),
    "s": lambda atoms: as_text(atoms.request.status or "-").partition(" ")[0],
    "b": lambda atoms: str(atoms.request.response_length),
    "B": lambda atoms: atoms.request.response_length,
    "f": lambda atoms: atoms.of("HTTP_REFERER"),
    "a": lambda atoms: atoms.of("HTTP_USER_AGENT"),
    "T": lambda atoms: atoms.micros // 1_000_000,
    "D": lambda atoms: atoms.micros,
    "M": lambda atoms: atoms.micros // 1000,
    "L": lambda atoms: f"{atoms.micros / 1e6:.6f}",
    "p": lambda _: f"<{os.getpid()}>",
}
