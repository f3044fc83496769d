"""A real browser for the live tests: Debian's Chromium, driven by Playwright.

Playwright's synchronous interface runs on greenlets of its own, so nothing here, or in the tests that use it, imports
gevent.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Protocol

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright

# Chromium in a container, as root, with no calls home.
ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE: Final = 40_000  # ms for whatever a test waits for; a worker alone takes 10 s to come back on a busy machine

# Chromium says "Failed to load resource" for every answer of 400 and more; a test that wants one says so.
REFUSED: Final = "Failed to load resource"


class Process(Protocol):
    """What the site runs in."""

    def signal(self, number: int) -> None: ...


class Address(Protocol):
    """Where a site is found."""

    url: str


class Site(Address, Protocol):
    """A running site; the fixture `site` makes one."""

    server: Process


@contextmanager
def start_browser() -> Iterator[Browser]:
    """Start Chromium without its windows, which takes half as much; or whole, where there is no other.

    Where there is none at all, fail with one line that says what to install.
    """
    path = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if path is None:
        what = "no chromium here: apt-get install chromium-headless-shell (make test does it, as root on Debian)"
        pytest.fail(what, pytrace=False)
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


class Visitor:
    """Somebody with a browser of their own, on the chat's page; `options` are those of Browser.new_context."""

    def __init__(
        self, browser: Browser, site: Address, name: str, *, width: int = 1280, height: int = 800, **options: Any
    ) -> None:
        self.name = name
        self.faults: list[str] = []
        """What the browser complained about."""
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(PATIENCE)
        # A policy that is broken is reported in the page only.
        context.expose_function("reportViolation", lambda text: self.faults.append(f"policy: {text}"))
        context.add_init_script(
            "addEventListener('securitypolicyviolation', (e) => reportViolation(`${e.violatedDirective} ${e.blockedURI}`))"
        )
        self.page: Page = context.new_page()
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self._url = site.url

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text}")

    def arrive(self, cookies: Mapping[str, str]) -> None:
        """Open the page, in the session that these cookies name."""
        self.use(cookies)
        self.page.goto(f"{self._url}/chat/")
        self.wait_until_ready()

    def use(self, cookies: Mapping[str, str]) -> None:
        """Go on in the session that these cookies name."""
        self.page.context.add_cookies([{"name": name, "value": value, "url": self._url} for name, value in cookies.items()])

    def wait_until_ready(self) -> None:
        """Wait until the page's scripts listen; before, a key that is pressed is lost."""
        expect(self.page.locator("body[data-ready]")).to_be_attached()

    def create(self, channel: str) -> None:
        """Create a channel, which enters it."""
        self.finder.fill(channel)
        expect(self.page.get_by_role("button", name="Create", exact=True)).to_be_visible()
        self.finder.press("Enter")
        self.wait_until_in(channel)

    def enter(self, channel: str) -> None:
        """Go to a channel by its address, and wait until one is in it."""
        self.page.evaluate("(name) => { location.hash = `#/${encodeURIComponent(name)}` }", channel)
        self.wait_until_in(channel)

    def channel(self, name: str) -> Locator:
        """A channel's link in the lists."""
        return self.page.locator("#channels").get_by_role("link").filter(has=self.page.get_by_text(name, exact=True))

    def leave(self, channel: str) -> None:
        """Leave a channel that is open."""
        self.page.get_by_role("button", name=f"Leave {channel}").click()

    @property
    def finder(self) -> Locator:
        """The field that finds and creates channels."""
        return self.page.get_by_label("Find or create a channel")

    @property
    def field(self) -> Locator:
        """Where messages are typed."""
        return self.page.get_by_label("Message", exact=True)

    def wait_until_in(self, channel: str) -> None:
        """Wait until the page shows that channel, connected."""
        expect(self.page.get_by_role("heading", name=channel, exact=True)).to_be_visible()
        expect(self.page.locator("#state")).to_have_text("Connected")

    def say(self, text: str) -> None:
        """Type a line and press Enter."""
        self.field.fill(text)
        self.field.press("Enter")

    def edit(self, text: str, other: str) -> None:
        """Change a message of one's own."""
        self._act(text, "Edit")
        self.say(other)
        self.hears(other)

    def delete(self, text: str) -> None:
        """Take a message back, where that is allowed."""
        self._act(text, "Delete")
        self.page.get_by_role("group", name="Delete this message?").get_by_role("button", name="Delete").click()

    def _act(self, text: str, label: str) -> None:
        message = self.message(text)
        message.hover()
        message.get_by_role("button", name=label).click()

    def turn_clock(self) -> None:
        """Begin anew with a clock that the test turns, by `page.clock`; left alone it goes on."""
        self.page.clock.install()
        self.page.reload()
        self.wait_until_ready()

    @property
    def people(self) -> Locator:
        """Who is in the channel, as the page says."""
        return self.page.locator("#people-list .who")

    @property
    def log(self) -> Locator:
        """The channel's log as it is on the page: what is confirmed, by anybody."""
        return self.page.get_by_role("log")

    def hears(self, *texts: str) -> None:
        """Wait until all of `texts` have been said in the channel."""
        for text in texts:
            expect(self.log).to_contain_text(text)

    def forgive(self, complaint: str) -> None:
        """The test has caused that itself."""
        self.faults = [fault for fault in self.faults if complaint not in fault]

    def message(self, text: str) -> Locator:
        """The entry with exactly that text."""
        exact = self.page.get_by_text(text, exact=True)
        return self.log.locator(".message").filter(has=exact)
