"""The standalone application, with tokens made at its start by the public API: for whoever needs very many at once.

The environment says how many (MINT_COUNT), into which file (MINT_PATH), and for how many channels (MINT_CHANNELS, 1):
token i is for channel `room<i % MINT_CHANNELS>`, or for `lobby` where there is but one.
"""

import os
from contextlib import suppress
from pathlib import Path

from flask import Flask

from chat import DuplicatedChannel
from web.app import create_app

app = create_app()


def _resident() -> int:
    """KiB of memory that this process has."""
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0])


def mint(app: Flask) -> None:
    """Write one token a line, and in a file `.kib` beside it what they take; whole, so that a reader never sees half."""
    server = app.extensions["chat"].server
    channels = int(os.environ.get("MINT_CHANNELS", "1"))
    names = [f"room{number}" for number in range(channels)] if channels > 1 else ["lobby"]
    for name in names:
        with suppress(DuplicatedChannel):  # after HUP
            server.create_channel(name)
    count, path = int(os.environ["MINT_COUNT"]), Path(os.environ["MINT_PATH"])
    draft = path.with_suffix(".draft")
    before = _resident()
    with draft.open("w") as file:
        file.writelines(server.request_token(f"user{i}", names[i % channels]) + "\n" for i in range(count))
    path.with_suffix(".kib").write_text(str(_resident() - before))
    draft.rename(path)
