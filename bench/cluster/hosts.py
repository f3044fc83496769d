"""One chat on several hosts: a gunicorn with one worker on each, and on one more the Valkey that they share.

The hosts are networks of this machine, and the database is one SQLite file: they have one file system.  On real hosts it
would be PostgreSQL.  Nothing is written there while messages flow, because nothing is archived.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.loads import Part
from bench.networks import Network, networks
from bench.running import Running, started, workers_of
from bench.scenarios import Scenario
from bench.servers import Server
from bench.valkey import valkey


@dataclass(frozen=True, slots=True)
class Hosts:
    """Those that serve."""

    servers: Sequence[Running]
    networks: Sequence[Network]
    parts: Mapping[str, int]
    """Their processes by name."""
    headers: Sequence[Path]
    """For the clients of each."""

    def loads(self, row: Scenario) -> list[Part]:
        """One for each host, with its share of the members and the senders."""
        shares = zip(_shares(row.n, len(self.servers)), _shares(row.senders, len(self.servers)), strict=True)
        first, found = 0, []
        for (members, senders), it, network, headers in zip(shares, self.servers, self.networks, self.headers, strict=True):
            own = ["--n", str(members), "--senders", str(senders), "--first", str(first), "--headers", str(headers)]
            pids = ["--pid", ",".join(map(str, self.parts.values()))]
            found.append(Part([*it.options(), *row.options(it.server.protocol), *own, *pids], network.inside))
            first += members
        return found


@contextmanager
def hosts(server: Server, count: int, folder: Path, *, core: int, members: int) -> Iterator[Hosts]:
    """Start `server` on so many, all on that core; yield them once all serve.  Blocks.

    One alone has no Valkey.  Raises: NoNetworks, ServerFailed, ValkeyFailed.
    """
    settings = {"CHAT_DATABASE_URL": f"sqlite:///{folder}/chat.sqlite", "CHAT_SECRET_KEY": secrets.token_hex(32)}
    with ExitStack() as stack:
        *serving, apart = stack.enter_context(networks(count + 1))
        shared = {}
        if count > 1:
            it = stack.enter_context(valkey(folder / "valkey", core=core, inside=apart.inside, address=apart.address))
            settings["CHAT_REDIS_URL"], shared = it.url, {"valkey": it.pid}
        running: list[Running] = []
        for number, network in enumerate(serving, 1):
            home = folder / f"host{number}"
            home.mkdir()
            minted = 0 if running else members  # the first one's tokens are good everywhere
            how = started(server, home, core=core, members=minted, settings=settings, inside=network.inside)
            running.append(stack.enter_context(how))
        workers = {f"worker_{number}": workers_of(it.pid)[0] for number, it in enumerate(running, 1)}
        yield Hosts(running, serving, {**workers, **shared}, _dealt(running[0], count, members))


def _shares(whole: int, count: int) -> list[int]:
    return [whole // count + (number < whole % count) for number in range(count)]


def _dealt(it: Running, count: int, members: int) -> list[Path]:
    """Give each host's clients their part of the tokens."""
    assert it.headers is not None
    lines, found = it.headers.read_text().splitlines(keepends=True), []
    for number, share in enumerate(_shares(members, count)):
        found.append(it.headers.with_name(f"headers{number}"))
        found[-1].write_text("".join(lines[:share]))
        lines = lines[share:]
    return found
