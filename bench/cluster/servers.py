"""What is measured: our application as one process, and as several, by the protocol that its members speak."""

from collections.abc import Mapping
from typing import Final

from bench.servers import BEARER, SUBPROTOCOL, Server, ours

PROTOCOLS: Final[Mapping[str, tuple[str, str]]] = {"plain": (BEARER, ""), "v1": (SUBPROTOCOL, "chatv1")}
"""What presents a token, and wsload's word."""


def _each(name: str, *, workers: int = 1, shares: bool = True, archive: str = "0") -> list[Server]:
    """For each protocol one."""
    return [
        ours(f"{name}-{protocol}", *how, workers=workers, shares=shares, env={"CHAT_ARCHIVE": archive})
        for protocol, how in PROTOCOLS.items()
    ]


SERVERS: Final[Mapping[str, Server]] = {
    server.name: server
    for server in (
        *_each("one", shares=False),
        *_each("one-archive", shares=False, archive="1"),
        *_each("one-valkey"),
        *_each("two", workers=2),
        *_each("two-archive", workers=2, archive="1"),
        *_each("four", workers=4),
    )
}
"""gunicorn on one host, with a Valkey on a unix socket where its workers share one."""

HOSTS: Final[Mapping[str, int]] = {"one-host": 1, "two-hosts": 2, "three-hosts": 3}
"""gunicorn with one worker on each of so many; where there are several, with a Valkey on one more."""

HOST: Final = ours("host", BEARER)
"""One of them."""

PUBLISHER: Final = "publisher"
"""No server: a broker in a process of its own."""

NAMES: Final[Mapping[str, str]] = {
    "one": "1 worker",
    "one-archive": "1 worker, with the archive",
    "one-valkey": "1 worker and a Valkey",
    "two": "2 workers",
    "two-archive": "2 workers, with the archive",
    "four": "4 workers",
    "one-host": "1 host, without a Valkey",
    "two-hosts": "2 hosts",
    "three-hosts": "3 hosts",
}
"""As the tables call them."""


def split(name: str) -> tuple[str, str]:
    """A server's name without its protocol, and the protocol; "" where it has none."""
    base, _, protocol = name.rpartition("-")
    return (base, protocol) if protocol in PROTOCOLS else (name, "")
