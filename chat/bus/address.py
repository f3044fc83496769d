"""Where the Redis or Valkey servers are: what may stand in CHAT_REDIS_URL."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from redis.connection import parse_url

FORMS: Final = (
    "redis://host:port/db, rediss://…, unix:///path/to/socket, redis+sentinel://host:port,host:port/service or "
    "redis+cluster://host:port,host:port"
)
BETWEEN: Final = re.compile(r"[\s,]+(?=[a-z+]+://)")  # hosts have commas between them too


class Kind(Enum):
    """What is to be found there."""

    ONE = "one"
    """A server."""
    SENTINEL = "sentinel"
    """Sentinels, which know the server."""
    CLUSTER = "cluster"
    """Some nodes of a cluster, which know the others."""


@dataclass(frozen=True, slots=True)
class Address:
    """One server, or one group of servers that acts as one."""

    kind: Kind
    hosts: tuple[tuple[str, int], ...]
    """One of them is enough to find the rest.  Empty for a unix socket."""
    options: Mapping[str, Any] = field(repr=False)
    """What `redis.Connection` wants to know besides: user, password, db, path, those of TLS."""
    is_secure: bool = False
    service: str = ""
    """The name that sentinels know it by."""

    def __str__(self) -> str:
        """Without user and password."""
        where = ",".join(f"{host}:{port}" for host, port in self.hosts) or f"unix:{self.options.get('path')}"
        return f"{where}/{self.service}" if self.service else where


def parse(text: str) -> tuple[Address, ...]:
    """Read one URL or more, with commas or white space between them.  Raises: ValueError, which names no password."""
    urls = [url for url in BETWEEN.split(text.strip().rstrip(",")) if url]
    if not urls:
        raise ValueError(f"is empty; it may be {FORMS}")
    return tuple(_parse_one(url) for url in urls)


def _parse_one(url: str) -> Address:
    parts = urlsplit(url)
    scheme, _, kind = parts.scheme.partition("+")
    is_known = scheme in ("redis", "rediss") and kind in ("", "sentinel", "cluster")
    if not is_known and parts.scheme != "unix":
        raise ValueError(f"{parts.scheme or 'that'}: is no way to reach a Redis; it may be {FORMS}")
    if parts.scheme == "unix":
        return Address(Kind.ONE, (), _options(url))
    hosts = _hosts(parts, 26379 if kind == "sentinel" else 6379)
    service, path = "", parts.path
    if kind == "sentinel":
        service, _, db = parts.path.strip("/").partition("/")
        path = f"/{db}"
        if not service:
            raise ValueError("redis+sentinel: says no service; it is redis+sentinel://host:port,host:port/service")
    plain = SplitResult(scheme, parts.netloc.partition(",")[0], path, parts.query, "").geturl()
    options = _options(plain)
    options.pop("host", None)
    options.pop("port", None)
    if kind == "cluster" and options.get("db"):
        raise ValueError("redis+cluster: a cluster has no database numbers")
    return Address(Kind(kind or "one"), hosts, options, scheme == "rediss", unquote(service))


def _hosts(parts: SplitResult, default: int) -> tuple[tuple[str, int], ...]:
    hosts = parts.netloc.rpartition("@")[2]
    found = []
    for host in hosts.split(","):
        one = urlsplit(f"//{host}")
        try:
            found.append((one.hostname or "localhost", one.port or default))
        except ValueError:
            raise ValueError(f"{host!r} is no host and port") from None
    return tuple(found)


def _options(url: str) -> dict[str, Any]:
    try:
        options = parse_url(url)
    except ValueError as exc:
        raise ValueError(f"cannot be read: {exc}") from None
    options.pop("connection_class", None)
    return dict(options)
