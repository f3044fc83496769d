"""chat-client.js by itself, in a browser and on a real server: imported by a page that is cut off, and loaded again."""

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.live.cable import Cable
from tests.live.conftest import Site
from tests.live.people import Person
from tests.live.servers import TOP

CHANNELS: Final = ("garden", "kitchen")

# What a page of one's own would have in its script; and a journal that outlives it, of what was heard.
START: Final = """async (channels) => {
  const { ChatClient } = await import("/chat/static/chat-client.js");
  const token = async (channel) => {
    const headers = { "Content-Type": "application/json" };
    const response = await fetch("/chat/token", { method: "POST", headers, body: JSON.stringify({ channel }) });
    if (!response.ok) throw { status: response.status };
    return response.json();
  };
  window.client = new ChatClient({ url: "/chat/ws", token, storage: sessionStorage });
  window.heard = JSON.parse(sessionStorage.getItem("journal") ?? "[]");
  const note = (...event) => {
    heard.push(event);
    sessionStorage.setItem("journal", JSON.stringify(heard));
  };
  for (const name of channels) {
    const channel = client.join(name);
    for (const type of ["message", "edit", "delete", "lost"])
      channel.addEventListener(type, ({ detail }) => note(name, detail.offset, type, detail.text ?? ""));
  }
}"""

JOINED: Final = "() => [...client.channels.values()].every(({ state }) => state.name === 'joined')"
SILENT: Final = "() => [...client.channels.values()].every(({ pending }) => pending.length === 0)"


class Reader:
    """Somebody with such a page."""

    def __init__(self, browser: Browser, person: Person, url: str) -> None:
        context = browser.new_context()
        context.add_cookies([{"name": name, "value": value, "url": url} for name, value in person.cookies.items()])
        self.page: Page = context.new_page()
        self.page.goto(f"{url}/account")  # of the same origin, and without a chat of its own
        self.start()

    def start(self) -> None:
        self.page.evaluate(START, list(CHANNELS))

    def wait_until(self, condition: str, argument: object = None) -> None:
        self.page.wait_for_function(condition, arg=argument, timeout=10_000)

    def say(self, *texts: str) -> None:
        """In all channels; nobody waits for the answer."""
        for text in texts:
            self.page.evaluate("(text) => { for (const channel of client.channels.values()) channel.publish(text) }", text)

    def reload(self) -> None:
        self.page.reload()
        self.start()

    @property
    def heard(self) -> list[Any]:
        """[channel, offset, type, text] of each event, in their order, over all of the page's lives."""
        events: list[Any] = self.page.evaluate("heard")
        return events


@pytest.fixture
def cable(site: Site) -> Iterator[Cable]:
    with Cable(site.url) as cable:
        yield cable


def texts_in(channel: str, heard: list[Any]) -> list[str]:
    return [text for name, _, kind, text in heard if name == channel and kind == "message"]


def test_two_channels_of_a_page_survive_a_cut_and_a_reload_complete_and_in_order(
    site: Site, cable: Cable, browser: Browser
) -> None:
    person = site.person("ann")
    for name in CHANNELS:
        assert person.create(name).status == 201
    ann = Reader(browser, person, site.url)
    bob = Reader(browser, site.person("bob"), cable.url)
    for reader in (ann, bob):
        reader.wait_until(JOINED)

    ann.say("a1", "a2")
    bob.wait_until("() => heard.length === 4")  # so that hers are the first
    bob.say("b1")
    bob.wait_until("() => heard.length === 6")
    cable.cut()
    bob.wait_until("() => client.state.name !== 'online'")
    bob.say("b2", "b3")
    ann.say("a3", "a4")
    cable.mend()
    bob.wait_until("() => heard.length === 14")
    assert ann.page.evaluate("client.channels.get('garden').edit(1, 'changed').then(({ offset }) => offset)") == 8
    bob.wait_until("() => heard.length === 15")
    cable.cut()
    bob.wait_until("() => client.state.name !== 'online'")
    bob.say("b4")
    ann.say("a5")
    cable.mend()
    bob.reload()
    ann.wait_until("() => heard.length === 19")
    bob.wait_until("() => heard.length === 19")
    bob.wait_until(SILENT)

    assert sorted(ann.heard) == sorted(bob.heard)
    for name in CHANNELS:
        heard = [event for event in bob.heard if event[0] == name]
        assert [offset for _, offset, _, _ in heard] == list(range(1, len(heard) + 1))
        for who, count in (("a", 5), ("b", 4)):
            mine = [text for text in texts_in(name, heard) if text.startswith(who)]
            assert mine == [f"{who}{number}" for number in range(1, count + 1)]
    assert ["garden", 8, "edit", "changed"] in bob.heard
    page = bob.page.evaluate("client.channels.get('garden').history({ limit: 3 })")
    assert len(page["events"]) == 3
    assert page["more"] is True
    for reader in (ann, bob):
        reader.page.context.close()


def test_the_page_in_the_documentation_is_all_of_a_chat(site: Site, browser: Browser) -> None:
    example = re.search(r"```html\n(.*?)```", (TOP / "docs" / "embedding.md").read_text(), re.DOTALL)
    assert example is not None
    html = "<!doctype html><title>Mine</title>" + example[1].replace("/talk/", "/chat/")
    person = site.person("ann")
    assert person.create("lobby").status == 201
    bob = site.person("bob").enter("lobby")
    bob.say("before ann came")
    bob.hear("ack")
    # The browser does not know that what the test gives it comes from this machine, too.
    with browser.new_context(permissions=["local-network-access"]) as context:
        context.add_cookies([{"name": name, "value": value, "url": site.url} for name, value in person.cookies.items()])
        page = context.new_page()
        page.route("**/mine", lambda route: route.fulfill(body=html, content_type="text/html"))
        page.goto(f"{site.url}/mine")
        expect(page.locator("li")).to_have_text(["bob: before ann came"])

        page.locator("input").fill("hello")
        page.locator("input").press("Enter")
        expect(page.locator("li")).to_have_text(["bob: before ann came", "ann: hello"])
        page.reload()

        expect(page.locator("li")).to_have_text(["bob: before ann came", "ann: hello"])
        expect(page.locator("output")).to_have_text("")
    bob.close()
