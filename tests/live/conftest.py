"""A running site for the tests of this folder."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live.people import OneThread, Person, Place
from tests.live.servers import Server, gunicorn


@dataclass
class Site:
    """A running site with accounts."""

    server: Server
    url: str
    place: Place

    def person(self, name: str) -> Person:
        """A new user, logged in."""
        return Person(self.place, name).register()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """The standalone site under gunicorn."""
    with gunicorn(tmp_path / "instance") as (server, url):
        yield Site(server, url, Place(url))


@pytest.fixture(autouse=True)
def _deadline_for_sockets() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20.0)
    yield
    socket.setdefaulttimeout(before)
    OneThread.close_all()
