"""Fixtures of pytest: `pytest_plugins = ["chat.testing.fixtures", "web.testing.fixtures"]` in your top conftest.py."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from flask import Flask

from web.testing.site import Site, serve

ServeChat = Callable[..., Site]


@pytest.fixture
def serve_chat(no_chat_greenlet_left: None) -> Iterator[ServeChat]:  # noqa: ARG001
    """Serves applications until the end of the test; takes what `web.testing.serve` takes."""
    with ExitStack() as stack:
        yield lambda app, **given: stack.enter_context(serve(app, **given))


@pytest.fixture
def chat_site(app: Flask, serve_chat: ServeChat) -> Site:
    """The application that your own fixture `app` makes, served."""
    return serve_chat(app)
