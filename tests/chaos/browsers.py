"""The clients in Chromium, each with cookies of its own; `python -m tests.chaos.browsers` is told what to do.

Each has a page of the site's own that has no script, and gives it one: as an application would use the client's module.
"""

import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from tests.chaos.record import Chapter, Event, Item, Record, Said, View
from tests.chaos.troupe import perform
from tests.live.browser import start_browser

HERE = Path(__file__).parent


class Browsers:
    """All of them; see `Cast`."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._pages: dict[str, Page] = {}
        self._errors: list[str] = []

    def enter(self, url: str, channels: dict[str, list[str]], sessions: dict[str, dict[str, str]], seed: int) -> None:
        dice = random.Random(seed)
        for name, names in channels.items():
            page = self._pages[name] = self._open(name, url.removesuffix("/chat"), sessions[name])
            page.evaluate("([name, names, seed]) => chaos.enter(name, names, seed)", [name, names, dice.getrandbits(31)])

    def talk(self, rate: float) -> None:
        for page in self._pages.values():
            page.evaluate("(pause) => chaos.talk(pause)", 1000 * len(self._pages) / rate)

    def hush(self) -> None:
        for page in self._pages.values():
            page.evaluate("() => chaos.hush()")

    def state(self) -> dict[str, Any]:
        sums: Counter[str] = Counter()
        last: dict[str, int] = {}
        for page in self._pages.values():
            state = page.evaluate("() => chaos.state()")
            for channel, offset in state.pop("last").items():
                last[channel] = min(last.get(channel, offset), offset)
            sums.update(state)
        return {**sums, "last": last}

    def write(self, path: str) -> None:
        record = Record()
        for name, page in self._pages.items():
            found = page.evaluate("() => chaos.record()")
            record.views += [
                View(name, channel, [_chapter(each) for each in chapters]) for channel, chapters in found["views"]
            ]
            record.said += [Said(name, **each) for each in found["said"]]
        record.write(Path(path))

    def complaints(self) -> list[str]:
        return [
            *self._errors,
            *(each for page in self._pages.values() for each in page.evaluate("() => chaos.complaints()")),
        ]

    def _open(self, name: str, url: str, cookies: dict[str, str]) -> Page:
        context = self._browser.new_context(bypass_csp=True)  # that page allows nothing
        context.add_cookies([{"name": cookie, "value": value, "url": url} for cookie, value in cookies.items()])
        page = context.new_page()
        page.on("pageerror", lambda error: self._errors.append(f"{name}: {error}"))
        page.route("**/chat/chaos.js", lambda route: route.fulfill(path=HERE / "page.js", content_type="text/javascript"))
        page.goto(f"{url}/healthz")
        page.add_script_tag(url="/chat/chaos.js", type="module")
        page.wait_for_function("globalThis.chaos !== undefined")
        return page


def _chapter(found: dict[str, Any]) -> Chapter:
    items = {offset: Item(*fields) for offset, fields in found["items"]}
    return Chapter(found["start"], items, [Event(*fields) for fields in found["events"]])


def main() -> None:
    with start_browser() as browser:
        perform(Browsers(browser), sys.stdin, sys.stdout)


if __name__ == "__main__":
    main()
