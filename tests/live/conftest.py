"""A running site for the tests of this folder."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
from playwright.sync_api import Browser

from tests.live.browser import Address, Visitor, start_browser
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


@pytest.fixture(scope="module")
def lasting_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The standalone site under gunicorn, for several tests."""
    with gunicorn(tmp_path_factory.mktemp("site") / "instance", app="tests.live.renewable_app:app") as (server, url):
        yield Site(server, url, Place(url))


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A site as new; one of its own, with what `@pytest.mark.settings(CHAT_X="1")` says, for who has such a mark."""
    marker = request.node.get_closest_marker("settings")
    if marker is None:
        site: Site = request.getfixturevalue("lasting_site")
        assert site.place.request("POST", "/renew").status == 204
        yield site
        return
    with gunicorn(tmp_path / "instance", **marker.kwargs) as (server, url):
        yield Site(server, url, Place(url))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not for the whole session: while it lives, no other test can run a loop of asyncio."""
    with start_browser() as browser:
        yield browser


class Invite(Protocol):
    """Bring a visitor; `at` is where to, when not straight to the site; `known` is one who has registered before."""

    def __call__(self, name: str, *, at: Address | None = None, known: bool = False, **options: object) -> Visitor: ...


@pytest.fixture
def invite(browser: Browser, site: Site) -> Iterator[Invite]:
    """Brings visitors, logged in; in the end no browser may have complained."""
    visitors: list[Visitor] = []

    def come(name: str, *, at: Address | None = None, known: bool = False, **options: object) -> Visitor:
        visitor = Visitor(browser, at or site, name, **options)
        visitors.append(visitor)
        person = Person(site.place, name)
        visitor.arrive((person.log_in() if known else person.register()).cookies)
        return visitor

    yield come
    faults = {visitor.name: visitor.faults for visitor in visitors if visitor.faults}
    for visitor in visitors:
        visitor.page.context.close()
    assert faults == {}


@pytest.fixture
def ann(invite: Invite) -> Visitor:
    return invite("ann")


@pytest.fixture
def bob(invite: Invite) -> Visitor:
    return invite("bob smith")


@pytest.fixture(autouse=True)
def _deadline_for_sockets() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20.0)
    yield
    socket.setdefaulttimeout(before)
    OneThread.close_all()
