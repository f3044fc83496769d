"""A bot that says something now and then, and prints what it hears; many of them make a load.

    python -m examples.pinger --count 3 lobby ping

from the top folder of the project, while `examples.go_chat_server` runs.  Ctrl-C ends it.

On asyncio, because there an interrupt ends all bots in good order, wherever each of them waits.
"""

import argparse
import asyncio
import random
import sys
from base64 import urlsafe_b64encode
from contextlib import suppress
from typing import Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

TIMEOUT: Final = 10.0  # seconds for an answer


def post(*path: str) -> str:
    """POST to the server's address and the names behind it.  Blocks.  Raises: HTTPError, OSError."""
    with urlopen(Request("/".join(path), method="POST"), timeout=TIMEOUT) as response:
        return str(response.read(), "utf-8")


def encode(name: str) -> str:
    return urlsafe_b64encode(name.encode()).decode()


def make_channel(options: argparse.Namespace) -> None:
    try:
        post(options.url, "new_channel", encode(options.channel))
    except HTTPError as exc:
        if exc.code != 409:  # it exists already
            raise


async def join(name: str, options: argparse.Namespace) -> None:
    """One bot, from its token to its end."""
    token = await asyncio.to_thread(post, options.url, "new_token", encode(options.channel), encode(name))
    address = f"ws{options.url.removeprefix('http')}/chat"
    async with connect(address, additional_headers={"Cookie": f"X-ChatToken={token}"}) as socket:
        await talk(socket, name, options)


async def talk(socket: ClientConnection, name: str, options: argparse.Namespace) -> None:
    """Print what is heard, and say something after each pause."""
    said = 0
    while said != options.messages:
        pause = random.uniform(options.min, options.max)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                while True:
                    print(f"[{name}] {await socket.recv()!r}", flush=True)  # a terminal obeys what is no text
        await socket.send(f"{name} waited {pause:.3f} s to say something")
        said += 1


async def run(options: argparse.Namespace) -> None:
    """All bots.  When one of them fails, the others end too."""
    await asyncio.to_thread(make_channel, options)
    async with asyncio.TaskGroup() as group:
        for number in range(1, options.count + 1):
            name = options.name if options.count == 1 else f"{options.name}-{number}"
            group.create_task(join(name, options))


def explain(exc: Exception) -> str:
    match exc:
        case HTTPError():
            return exc.read().decode().strip()
        case InvalidStatus():
            return exc.response.body.decode().strip()
    return str(exc)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Bots for a chat.")
    parser.add_argument("channel", help="is created if need be")
    parser.add_argument("name", help="with a number behind it when there are several bots")
    parser.add_argument("--url", default="http://127.0.0.1:8888", help="the server (%(default)s)")
    parser.add_argument("--count", type=int, default=1, help="bots (%(default)s)")
    parser.add_argument("--min", type=float, default=0.125, help="seconds between messages at least (%(default)s)")
    parser.add_argument("--max", type=float, default=16.0, help="and at most (%(default)s)")
    parser.add_argument("--messages", type=int, help="after which a bot leaves (never)")
    options = parser.parse_args(arguments)
    if not 0 <= options.min <= options.max:
        parser.error("--min: 0 or more, and at most --max, is wanted")
    return options


def main() -> None:
    options, failures = parse(), []
    with suppress(KeyboardInterrupt):
        try:
            asyncio.run(run(options))
        except* (OSError, ConnectionClosed, InvalidStatus) as failed:  # HTTPError is an OSError
            failures = [explain(exc) for exc in failed.exceptions]
    sys.exit("\n".join(failures) or None)


if __name__ == "__main__":
    main()
