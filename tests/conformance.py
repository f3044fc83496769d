"""Runs Autobahn's cases against our handler, as an echo server: `python -m tests.conformance`, four minutes.

`/parked` and `/route` are the two kinds of connections.  kosoku, which brings the cases, does not speak TLS: there it goes
through a forwarder.  Autobahn looks at neither unmasked frames nor most close codes and reasons;
tests/web/websocket/test_closing.py does.

Exit status: 0 all passed, 1 some did not, and are named, 2 the run went wrong, or did not run all cases.
"""

import asyncio
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.live.certificates import certificate
from tests.live.servers import SERVING, running

PASSED = {"OK", "INFORMATIONAL"}
LENIENT = {"6.4.3", "6.4.4"}  # text that is wrong in the middle of a frame may be refused when the frame has come
PARALLEL = 4  # cases at a time
PATIENCE = 900.0  # seconds for one pass


class RunError(Exception):
    """The run went wrong, so it says nothing about the server."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """Cases that are run one after the other; `expected` is how many there are."""

    path: str
    name: str
    expected: int
    tls: bool = False
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.path}{' over TLS' if self.tls else ''}, {self.name}"


def passes() -> list[Pass]:
    """All, the longest first.

    Parked sockets decline the small windows of 13.3 and 13.5, and what is left of 12 and 13 is 10 GB: two sizes do, one of
    them in fragments.
    """
    no_windows = ["12.1", "12.2", "12.3", "12.4", "12.5", "13.1", "13.2", "13.4", "13.6", "13.7"]
    some = tuple(f"{group}.{size}" for group in no_windows for size in (5, 11))
    found = [
        Pass(path="/route", name="compression", expected=126, include=("13.*",)),
        Pass(path="/route", name="compression", expected=90, include=("12.*",)),
        Pass(path="/parked", name="compression", expected=20, include=some),
    ]
    for path, tls in (("/parked", False), ("/route", False), ("/parked", True)):
        found.append(Pass(path=path, tls=tls, name="sizes and limits", expected=54, include=("9.*",)))
        found.append(Pass(path=path, tls=tls, name="protocol", expected=247, exclude=("9.*", "12.*", "13.*")))
    return found


@dataclass(frozen=True)
class Case:
    """What became of one case."""

    id: str
    behavior: str
    closing: str

    @property
    def passed(self) -> bool:
        behaved = self.behavior in PASSED or (self.behavior == "NON-STRICT" and self.id in LENIENT)
        return behaved and self.closing in PASSED

    def __str__(self) -> str:
        return f"{self.id} ({self.behavior}, close {self.closing})"


def read_report(text: str, expected: int) -> list[Case]:
    """The cases of kosoku's index.json.  Raises: RunError unless it is about one server, and so many cases were run."""
    try:
        (found,) = json.loads(text).values()
        cases = [Case(id, case["behavior"], case["behaviorClose"]) for id, case in found.items()]
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise RunError(f"this is no report about one server: {exc!r}") from exc
    if len(cases) != expected:
        raise RunError(f"{len(cases)} cases were run, not {expected}")
    return cases


def summary(cases: list[Case]) -> str:
    """`passed X of Y`, and which did not."""
    failed = ", ".join(str(case) for case in cases if not case.passed)
    return f"passed {sum(case.passed for case in cases)} of {len(cases)}" + (f"; failed: {failed}" if failed else "")


async def run_cases(given: Pass, port: int, folder: Path) -> list[Case]:
    """Run a pass against an echo server.  Raises: RunError."""
    kosoku = Path(sys.executable).with_name("kosoku")
    arguments = [f"ws://127.0.0.1:{port}{given.path}", "--parallelism", str(PARALLEL), "--outdir", str(folder)]
    arguments += [word for pattern in given.include for word in ("--include", pattern)]
    arguments += [word for pattern in given.exclude for word in ("--exclude", pattern)]
    pipe, stdout = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
    try:
        process = await asyncio.create_subprocess_exec(kosoku, *arguments, stdout=pipe, stderr=stdout)
    except OSError as exc:
        raise RunError(f"{kosoku} cannot be started ({exc.strerror}): pip install -r requirements-dev.txt") from exc
    try:
        said, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        text = (folder / "index.json").read_text()
    except TimeoutError:
        raise RunError(f"{given}: no report within {PATIENCE:g} s") from None
    except OSError as exc:
        raise RunError(f"{given}: no report: {said.decode(errors='replace')[-1000:]}") from exc
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return read_report(text, given.expected)


@asynccontextmanager
async def forwarder(port: int, trusting: ssl.SSLContext) -> AsyncIterator[int]:
    """Yields a port from which plain TCP goes on over TLS to `port`."""
    connections: set[asyncio.Task[None]] = set()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_there, there = await asyncio.open_connection("localhost", port, ssl=trusting)
        await asyncio.gather(_pump(reader, there), _pump(from_there, writer))

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(task := asyncio.create_task(forward(reader, writer)))
        task.add_done_callback(connections.discard)

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            for task in (left := list(connections)):
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # one end has gone, and the other pump hears of it
    finally:
        writer.close()


class Bench:
    """Gives each pass a server of its own, and each processor a pass at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        _, self._trusting = certificate(folder)
        chain = folder / "chain.pem"
        chain.write_text("".join((folder / name).read_text() for name in ("key.pem", "cert.pem")))
        self._tls = ("--tls", str(chain))
        self._processors = asyncio.Semaphore(os.cpu_count() or 1)

    async def conform(self) -> bool:
        """Run all passes, and print what became of them; return whether all have passed.  Raises: RunError."""
        ahead = passes()
        with ExitStack() as servers:
            ports = [self._serve(servers, given) for given in ahead]
            async with AsyncExitStack() as forwarders:
                for at, given in enumerate(ahead):
                    if given.tls:
                        ports[at] = await forwarders.enter_async_context(forwarder(ports[at], self._trusting))
                async with asyncio.TaskGroup() as group:
                    tasks = [
                        group.create_task(self._run(at, *each)) for at, each in enumerate(zip(ahead, ports, strict=True))
                    ]
        results = [task.result() for task in tasks]
        everything = [case for cases in results for case in cases]
        print(f"in all: {summary(everything)}")
        return all(case.passed for case in everything)

    def _serve(self, servers: ExitStack, given: Pass) -> int:
        command = [sys.executable, "-m", "tests.web.websocket.echo_server", *(self._tls if given.tls else ())]
        return int(servers.enter_context(running(command)).wait_for(SERVING).group(1))

    async def _run(self, number: int, given: Pass, port: int) -> list[Case]:
        async with self._processors:
            cases = await run_cases(given, port, self._folder / str(number))
        print(f"{given}: {summary(cases)}", flush=True)
        return cases


def main() -> int:
    try:
        with TemporaryDirectory(prefix="conformance-") as folder:
            return 0 if asyncio.run(Bench(Path(folder)).conform()) else 1
    except* (RunError, AssertionError) as group:  # AssertionError: a server that does not come up
        for exc in group.exceptions:
            print(f"conformance: {exc}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
