"""The demo server's page, in a real browser."""

from tests.examples.conftest import Demo, Enter
from tests.live.browser import PATIENCE, expect, start_browser

EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


def test_what_others_say_is_text_on_the_page_and_never_markup(demo: Demo, enter: Enter):
    channel = f"<img src=x> {demo.channel()}"
    with start_browser() as browser:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(demo.url)
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


def test_the_page_tells_what_went_wrong(demo: Demo, channel: str):
    with start_browser() as browser:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(demo.url)
        page.get_by_label("Channel", exact=True).fill(channel)

        page.get_by_role("button", name="Create channel").click()

        expect(page.get_by_role("log")).to_contain_text(f"Error: channel '{channel}' exists already")
