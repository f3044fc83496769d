"""websockets on uvloop: its own broadcast()."""

import asyncio
import sys

import uvloop
from websockets.asyncio.server import broadcast, serve

members = set()


async def chat(connection):
    members.add(connection)
    try:
        async for message in connection:
            broadcast(members, message)
    finally:
        members.discard(connection)


async def main():
    async with serve(chat, "127.0.0.1", int(sys.argv[1]), compression=None, ping_interval=None, backlog=4096):
        await asyncio.get_running_loop().create_future()


uvloop.run(main())
