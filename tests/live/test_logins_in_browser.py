"""Logging in, staying so and being logged out, in a real browser while people chat."""

import pytest
from playwright.sync_api import expect

from tests.live.browser import REFUSED, Visitor
from tests.live.conftest import Invite, Site
from tests.live.people import PASSWORD

LOGGED_OUT = "You have been logged out."


def log_in(visitor: Visitor, *, remember: bool = False) -> None:
    """Fill in the form that is shown."""
    page = visitor.page
    page.get_by_label("User name").fill(visitor.name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Keep me logged in on this device").set_checked(remember)
    page.get_by_role("button", name="Log in").click()


def forgive_the_stranger(visitor: Visitor) -> None:
    visitor.forgive(REFUSED)
    visitor.forgive("WebSocket connection")


def test_logging_out_in_one_tab_ends_the_chat_in_the_other(ann: Visitor) -> None:
    ann.create("garden")
    other = ann.page.context.new_page()
    other.goto(ann.page.url)

    other.get_by_role("button", name="Log out").click()

    expect(ann.page.locator("#state")).to_have_text(LOGGED_OUT)
    ann.page.get_by_role("link", name="Log in again").click()
    expect(ann.page.get_by_role("heading", name="Log in")).to_be_visible()
    forgive_the_stranger(ann)


@pytest.mark.settings(CHAT_SESSION_LIFETIME="2")
def test_a_session_that_ends_while_one_chats_costs_neither_place_nor_draft(ann: Visitor) -> None:
    ann.create("garden")
    ann.page.evaluate("Object.defineProperty(document, 'hidden', {value: true})")  # nobody looks, so nothing is asked for
    ann.field.fill("I was about to")

    expect(ann.page.locator("#state")).to_have_text(LOGGED_OUT)
    ann.page.get_by_role("link", name="Log in again").click()
    log_in(ann)

    ann.wait_until_in("garden")
    expect(ann.field).to_have_value("I was about to")
    forgive_the_stranger(ann)


def test_who_logs_in_again_in_another_tab_goes_on_in_the_first(ann: Visitor, bob: Visitor) -> None:
    ann.create("garden")
    bob.enter("garden")
    other = bob.page.context.new_page()
    other.goto(bob.page.url)
    other.get_by_role("button", name="Log out").click()
    expect(bob.page.locator("#state")).to_have_text(LOGGED_OUT)
    bob.say("said too late")
    expect(bob.page.get_by_role("alert")).to_have_text(LOGGED_OUT)
    expect(bob.field).to_have_value("said too late")

    other.get_by_label("User name").fill(bob.name)
    other.get_by_label("Password").fill(PASSWORD)
    other.get_by_role("button", name="Log in").click()
    expect(other.locator("body[data-ready]")).to_be_attached()
    bob.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # headless tabs are never hidden

    bob.wait_until_in("garden")
    bob.field.press("Enter")
    ann.hears("said too late")
    expect(bob.message("said too late")).to_have_count(1)
    forgive_the_stranger(bob)


def test_a_page_speaks_for_nobody_but_the_one_it_was_loaded_for(ann: Visitor, site: Site) -> None:
    ann.create("garden")
    eve = site.person("eve")
    eve.create("kitchen")

    ann.use(eve.cookies)
    ann.page.evaluate("location.hash = '#/kitchen'")

    expect(ann.page.locator("#state")).to_have_text("Somebody else is logged in now. Reload this page.")


@pytest.mark.settings(CHAT_SESSION_LIFETIME="2")
def test_who_is_remembered_need_not_log_in_again(ann: Visitor, site: Site) -> None:
    ann.page.context.clear_cookies()
    ann.page.goto(f"{site.url}/login")
    log_in(ann, remember=True)
    ann.wait_until_ready()
    ann.page.context.clear_cookies(name="session")  # as when the browser is closed

    ann.page.reload()

    ann.wait_until_ready()
    ann.create("garden")
    forgive_the_stranger(ann)


def test_logging_out_everywhere_ends_every_chat(ann: Visitor, invite: Invite) -> None:
    ann.create("garden")
    elsewhere = invite("ann", known=True)
    elsewhere.enter("garden")

    elsewhere.page.get_by_role("link", name="Account").click()
    elsewhere.page.get_by_role("button", name="Log out everywhere").click()

    expect(elsewhere.page.get_by_role("status")).to_have_text("You are logged out everywhere.")
    expect(ann.page.locator("#state")).to_have_text(LOGGED_OUT)
    forgive_the_stranger(ann)


def test_a_display_name_is_what_others_read_and_the_user_name_stands_beside_it(ann: Visitor, bob: Visitor) -> None:
    ann.create("garden")
    bob.page.get_by_role("link", name="Account").click()
    bob.page.get_by_role("textbox", name="Display name").fill("Bob <b>Smith</b>")
    bob.page.get_by_role("button", name="Save").click()
    expect(bob.page.get_by_role("status")).to_contain_text("Others see")
    bob.page.get_by_role("link", name="Back to the chat").click()
    bob.wait_until_ready()

    bob.enter("garden")
    bob.say("hello")

    for visitor in (ann, bob):
        message = visitor.message("hello")
        expect(message.locator(".from")).to_have_text("Bob <b>Smith</b>")
        expect(message.locator(".handle")).to_have_text("bob smith")
    expect(ann.people).to_have_text(["ann (you)", "Bob <b>Smith</b> bob smith"])
    expect(ann.log).to_contain_text("Bob <b>Smith</b> bob smith has entered.")
