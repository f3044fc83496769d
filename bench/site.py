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


def mint(app: Flask) -> None:
    """Write one token a line; in the file of that name so that a reader never sees half of it."""
    server = app.extensions["chat"].server
    channels = int(os.environ.get("MINT_CHANNELS", "1"))
    names = [f"room{number}" for number in range(channels)] if channels > 1 else ["lobby"]
    for name in names:
        with suppress(DuplicatedChannel):  # after HUP
            server.create_channel(name)
    count, path = int(os.environ["MINT_COUNT"]), Path(os.environ["MINT_PATH"])
    draft = path.with_suffix(".draft")
    draft.write_text("\n".join(server.request_token(f"user{i}", names[i % channels]) for i in range(count)))
    draft.rename(path)
