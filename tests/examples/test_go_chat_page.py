"""The demo server's page, in a real browser."""

from collections.abc import Iterator

import pytest

from tests.examples.conftest import Demo, Enter
from tests.live.browser import PATIENCE, Browser, Page, expect, start_browser

EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with start_browser() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, demo: Demo) -> Iterator[Page]:
    with browser.new_context() as context:
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.goto(demo.url)
        yield page


def test_what_others_say_is_text_on_the_page_and_never_markup(demo: Demo, enter: Enter, page: Page):
    channel = f"<img src=x> {demo.channel()}"
    log = page.get_by_role("log")
    page.get_by_label("Channel", exact=True).fill(channel)
    page.get_by_role("button", name="Create channel").click()
    expect(log).to_contain_text(f"Channel {channel} was created.")
    bob = enter(channel, "<b>bob</b>")
    page.get_by_label("User name").fill("ann")
    page.get_by_role("button", name="Connect").click()
    expect(log).to_contain_text(f"ann entered {channel}!")

    bob.say(EVIL)
    page.get_by_label("Message", exact=True).fill("Grüße")
    page.get_by_role("button", name="Send").click()

    bob.wait_for("ann: Grüße")
    expect(log).to_contain_text(f"<b>bob</b>: {EVIL}")
    expect(log).to_contain_text("ann: Grüße")
    assert page.locator("#chat :not(p)").count() == 0
    assert page.title() == "Chat"


def test_the_page_tells_what_went_wrong(channel: str, page: Page):
    page.get_by_label("Channel", exact=True).fill(channel)

    page.get_by_role("button", name="Create channel").click()

    expect(page.get_by_role("log")).to_contain_text(f"Error: channel '{channel}' exists already")


def test_the_page_tells_when_the_connection_has_ended(channel: str, page: Page):
    page.get_by_label("Channel", exact=True).fill(channel)
    page.get_by_label("User name").fill("ann")
    page.get_by_role("button", name="Connect").click()

    page.get_by_label("Message", exact=True).fill("/quit")
    page.get_by_role("button", name="Send").click()

    expect(page.get_by_role("log")).to_contain_text("The connection has ended.")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
