"""The standalone application, with tokens made at its start by the public API: for tests that need very many."""

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
    with suppress(DuplicatedChannel):  # after HUP
        server.create_channel("lobby")
    count, path = int(os.environ["MINT_COUNT"]), Path(os.environ["MINT_PATH"])
    draft = path.with_suffix(".draft")
    draft.write_text("\n".join(server.request_token(f"user{number}", "lobby") for number in range(count)))
    draft.rename(path)
