"""How long it takes to say the first word, in seconds, in steps and in bytes; and that nobody else hears of it."""

import gzip
import time
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, Response, expect

from tests.live.browser import Visitor
from tests.live.conftest import Site
from tests.live.people import PASSWORD

SECONDS: Final = 20.0  # from opening the page until the message has been acked
STEPS: Final = 8  # clicks, fields filled in and keys pressed
WEIGHT: Final = (
    64_000  # bytes of the page with its scripts and styles, each compressed by itself; a third is chat-client.js
)


class Hands:
    """Do what a person does, and count it."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.steps = 0

    def click(self, what: Locator) -> None:
        self.steps += 1
        what.click()

    def fill(self, field: Locator, text: str) -> None:
        self.steps += 1
        field.fill(text)

    def press(self, key: str) -> None:
        """Where the focus is."""
        self.steps += 1
        self._page.keyboard.press(key)


@pytest.fixture
def nora(browser: Browser, site: Site) -> Iterator[Visitor]:
    """Has not registered yet."""
    nora = Visitor(browser, site, "nora")
    yield nora
    nora.page.context.close()


def test_a_new_user_says_something_within_20_seconds_and_8_steps(nora: Visitor, site: Site) -> None:
    page, hands = nora.page, Hands(nora.page)
    began = time.monotonic()

    page.goto(site.url)
    hands.click(page.get_by_role("link", name="Register"))
    hands.fill(page.get_by_label("User name"), nora.name)
    hands.fill(page.get_by_label("Password"), PASSWORD)
    hands.click(page.get_by_role("button", name="Register"))
    nora.wait_until_ready()
    hands.fill(nora.finder, "garden")
    hands.press("Enter")
    nora.wait_until_in("garden")
    hands.fill(nora.field, "Hello!")
    hands.press("Enter")
    nora.hears("Hello!")
    expect(page.locator(".pending")).to_have_count(0)
    took = time.monotonic() - began

    assert nora.faults == []
    assert took < SECONDS
    assert hands.steps <= STEPS


def test_the_first_view_of_the_chat_is_light(nora: Visitor, site: Site) -> None:
    answers: list[Response] = []
    nora.page.on("response", lambda answer: answers.append(answer))

    nora.arrive(site.person("nora").cookies)
    nora.create("garden")

    weights = {
        urlsplit(answer.url).path: len(gzip.compress(answer.body(), 6))
        for answer in answers
        if answer.ok and answer.request.resource_type != "image"
    }
    assert {"/chat/", "/chat/static/page.js", "/chat/static/page.css"} <= weights.keys()
    heaviest = sorted(weights.items(), key=lambda item: -item[1])[:8]
    assert sum(weights.values()) <= WEIGHT, heaviest


def test_the_page_asks_no_other_origin_for_anything(nora: Visitor, site: Site) -> None:
    asked: list[str] = []
    nora.page.on("request", lambda request: asked.append(request.url))
    nora.page.on("websocket", lambda socket: asked.append(socket.url))

    nora.page.goto(site.url)
    nora.arrive(site.person("nora").cookies)
    nora.create("garden")
    nora.say("see https://example.org/picture.png")
    nora.hears("example.org")

    origins = {f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" for url in asked if not url.startswith("data:")}
    assert origins == {site.url, site.url.replace("http:", "ws:")}
