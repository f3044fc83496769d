"""Where the Redis or Valkey servers are: what may stand in CHAT_REDIS_URL."""

import re
from collections.abc import Mapping, Set
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
ESCAPED: Final = "write @ / ? # % in a user or a password as %40 %2F %3F %23 %25"

# What may stand behind the question mark: the rest of redis-py's is about its pools, or is for `connecting` to say.
OPTIONS: Final = frozenset({"username", "password", "db", "path", "client_name"})
TLS_OPTIONS: Final = frozenset(
    {
        *("ssl_ca_certs", "ssl_ca_data", "ssl_ca_path", "ssl_cert_reqs", "ssl_check_hostname"),
        *("ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_ciphers", "ssl_min_version"),
        *("ssl_include_verify_flags", "ssl_exclude_verify_flags"),
    }
)


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
        """Without user and password; the same whatever the order of the hosts."""
        where = ",".join(sorted(_join(*host) for host in self.hosts)) or f"unix:{self.options.get('path')}"
        return f"{where}/{self.service}" if self.service else where

    def of_sentinel(self) -> "Address":
        """How to connect to the sentinels: by TLS alike, without user and password, which are the server's."""
        options = {name: value for name, value in self.options.items() if name in TLS_OPTIONS}
        return Address(Kind.ONE, self.hosts, options, self.is_secure)


def parse(text: str) -> tuple[Address, ...]:
    """Read one URL or more, with commas or white space between them.  Raises: ValueError, which names no password."""
    urls = [url for url in BETWEEN.split(text.strip().rstrip(",")) if url]
    if not urls:
        raise ValueError(f"is empty; it may be {FORMS}")
    addresses = tuple(_parse_one(url) for url in urls)
    names = [str(address) for address in addresses]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is there more than once")
    return addresses


def _parse_one(url: str) -> Address:
    try:
        parts = urlsplit(url)
    except ValueError:  # whose text may have the password
        raise ValueError(f"is no URL; {ESCAPED}") from None
    if parts.scheme == "unix":
        return _parse_unix(url, parts)
    scheme, _, kind = parts.scheme.partition("+")
    if scheme not in ("redis", "rediss") or kind not in ("", "sentinel", "cluster"):
        raise ValueError(f"begins like no way to reach a Redis; it may be {FORMS}")
    if parts.fragment or "@" in parts.path + parts.query:
        raise ValueError(f"has an @ or # where none can be; {ESCAPED}")
    user, at, netloc = parts.netloc.rpartition("@")
    hosts = _hosts(netloc, 26379 if kind == "sentinel" else 6379)
    service, db = "", parts.path.strip("/")
    if kind == "sentinel":
        service, _, db = db.partition("/")
        if not service:
            raise ValueError("redis+sentinel: says no service; it is redis+sentinel://host:port,host:port/service")
    if not kind and len(hosts) > 1:
        raise ValueError("redis: has one host; several servers are several URLs, with commas between them")
    plain = SplitResult(scheme, user + at + "host", f"/{_number(db)}", parts.query, "").geturl()
    options = _options(plain, OPTIONS - {"path"} | (TLS_OPTIONS if scheme == "rediss" else set()))
    if kind == "cluster" and options.get("db"):
        raise ValueError("redis+cluster: a cluster has no database numbers")
    return Address(Kind(kind or "one"), hosts, options, scheme == "rediss", unquote(service))


def _parse_unix(url: str, parts: SplitResult) -> Address:
    if parts.hostname or not parts.path:
        raise ValueError("unix: says no path; it is unix:///path/to/socket, with three strokes")
    return Address(Kind.ONE, (), _options(url, OPTIONS))


def _hosts(netloc: str, default: int) -> tuple[tuple[str, int], ...]:
    found = []
    for number, text in enumerate(netloc.split(","), 1):
        try:
            one = urlsplit(f"//{text}")
            host, port = one.hostname or "localhost", one.port or default
            host.encode("idna")  # as it is looked up
        except ValueError:  # what it is may be a part of the password
            raise ValueError(f"its host {number} is no host and port; {ESCAPED}") from None
        found.append((host, port))
    return tuple(found)


def _number(db: str) -> int:
    if not re.fullmatch("[0-9]*", db):
        raise ValueError("the database is a number: redis://host:port/0")
    return int(db or 0)


def _options(url: str, allowed: Set[str]) -> dict[str, Any]:
    try:
        options = dict(parse_url(url))
    except ValueError as exc:
        raise ValueError(f"cannot be read: {exc}") from None
    for name in ("connection_class", "host"):
        options.pop(name, None)
    if unknown := options.keys() - allowed:
        raise ValueError(f"has options that are not known here: {', '.join(sorted(unknown))}")
    return options


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
