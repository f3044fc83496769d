"""The page's pure modules, run in the browser that they are written for."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from chat.mentions import folded, mentioned
from tests.live.servers import gunicorn


@pytest.fixture(scope="module")
def page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Any page of the site: what is imported there is the site's own."""
    with gunicorn(tmp_path_factory.mktemp("site") / "instance") as (_, url), browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{url}/login")
        yield page


def call(page: Page, module: str, expression: str, argument: object = None) -> object:
    """Evaluate a function of `module`'s exports, `m`."""
    code = f"async (a) => {{ const m = await import('/chat/static/{module}.js'); return {expression}; }}"
    return page.evaluate(code, argument)


@pytest.mark.parametrize(("attempt", "longest"), [(0, 1), (1, 2), (3, 8), (4, 16), (5, 30), (1000, 30)])
def test_the_wait_before_another_try_is_anything_up_to_a_bound_that_doubles(page: Page, attempt: int, longest: int) -> None:
    waits = call(page, "chat-retry", "[0, 0.5, 1].map((chance) => m.backoff(a, () => chance))", attempt)

    assert waits == [0, longest / 2, longest]


@pytest.mark.parametrize(
    ("reason", "seconds"),
    [("retry=1.250", 1.25), ("retry=4", 4), ("retry=99999", 99999), ("", None), ("retry=-1", None), ("retry=soon", None)],
)
def test_the_reason_of_a_restart_says_when_to_come_back(page: Page, reason: str, seconds: float | None) -> None:
    assert call(page, "chat-retry", "m.askedFor(a)", reason) == seconds


@pytest.mark.parametrize(("asked", "wait"), [(0, 0.5), (-1, 0.5), (60, 60.5), (3_000_000, 300.5)])
def test_a_delay_that_was_asked_for_is_kept_within_reason(page: Page, asked: float, wait: float) -> None:
    assert call(page, "chat-retry", "m.obey(a, () => 0.5)", asked) == wait


@pytest.mark.parametrize(
    ("line", "text", "to"),
    [
        ("hello", "hello", None),
        ("/w bob hello you", "hello you", "bob"),
        ('/w "bob smith" hello', "hello", "bob smith"),
        ('/w "a \\"b\\"" hello', "hello", 'a "b"'),
        ("/w bob two\nlines", "two\nlines", "bob"),
        ("//w is a command", "/w is a command", None),
        ("/usr/bin", "/usr/bin", None),
        ("1 / 2", "1 / 2", None),
    ],
)
def test_a_line_is_said_or_whispered(page: Page, line: str, text: str, to: str | None) -> None:
    assert call(page, "command", "m.parse(a)", line) == {"text": text, "to": to}


@pytest.mark.parametrize("line", ["/w", "/w bob", "/w bob  ", '/w "bob', "/msg bob hi", "/me waves"])
def test_a_command_that_is_incomplete_or_another_chat_s_is_not_said_aloud(page: Page, line: str) -> None:
    answer = call(page, "command", "m.parse(a)", line)

    assert isinstance(answer, dict)
    assert "/w name text" in answer["fault"]


@pytest.mark.parametrize("name", ["bob", "bob smith", 'a "b"', "back\\slash", "\u0645\u064a\u0631\u0627"])
def test_a_whisper_that_is_begun_for_somebody_reaches_exactly_them(page: Page, name: str) -> None:
    assert call(page, "command", "m.parse(m.whisperTo(a) + 'psst')", name) == {"text": "psst", "to": name}


@pytest.mark.parametrize(
    "text",
    [
        "www.example.org",
        "http://\u0430pple.example",
        "http://ex\u0430mple.org",
        "http://\u017fite.example",
        "http://example.org\U0001f600",
        "https://bank.example@evil.example/",
        "https://",
        "https://[",
        "javascript:alert(1)//https:/",
    ],
)
def test_what_may_be_another_address_than_it_looks_is_text(page: Page, text: str) -> None:
    assert call(page, "rich-text", "m.richText(a).map((node) => node.outerHTML ?? node).join('')", text) == text


def test_an_address_is_a_link_in_its_text(page: Page) -> None:
    found = call(page, "rich-text", "m.richText(a).map((node) => node.tagName ?? node)", "see http://a.example, too")

    assert found == ["see ", "A", ", too"]


@pytest.mark.parametrize(
    ("text", "user", "expected"),
    [
        ("@ann", "ann", True),
        ("hello (@Ann), and all", "ann", True),
        ("@ann's", "ann", False),
        ("ann@example.org, x@ann", "ann", False),
        ('@"bob smith": hello', "bob smith", True),
        ("@bob smith", "bob smith", False),
        ("@STRASSE", "stra\u00dfe", True),
        ("@\uff41nn", "ann", True),
        ("@", "ann", False),
        ("@@ann", "ann", False),
    ],
)
def test_who_is_mentioned_is_who_the_server_counts(page: Page, text: str, user: str, expected: bool) -> None:
    assert call(page, "mentions", "m.mentions(...a)", [text, user]) is expected
    assert (folded(user) in mentioned(text)) is expected


def test_what_is_mentioned_stands_out_without_the_sentence_around_it(page: Page) -> None:
    html = "m.richText(a, 'ann').map((node) => node.outerHTML ?? node).join('')"

    shown = call(page, "rich-text", html, "see @bob, @ann: https://example.org/@ann @\u202e!")

    assert isinstance(shown, str)
    assert 'see <bdi class="mention">@bob</bdi>, <bdi class="mention mine">@ann</bdi>: <a ' in shown
    assert shown.count("mention") == 2, shown
    assert "\u202e" not in shown


@pytest.mark.parametrize(
    ("steps", "count"),
    [
        ("u.add(true); u.add(false)", [2, 1]),
        ("u.add(true); u.read(5)", [0, 0]),
        ("u.tell({unread: 3, mentions: 1}, 1)", [3, 1]),
        ("u.tell({unread: 3, mentions: 1}, 1); u.tell({unread: 0, mentions: 0}, 2)", [0, 0]),  # read elsewhere
        ("u.add(true); u.tell({unread: 0, mentions: 0}, 1)", [1, 1]),  # a server that keeps no count
        ("u.add(true); u.tell({}, 1)", [1, 1]),
        ("u.read(5); u.tell({unread: 3, mentions: 1}, 4)", [0, 0]),  # asked before it was read
        ("u.read(5); u.tell({unread: 3, mentions: 1}, 6)", [3, 1]),
    ],
)
def test_unread_messages_are_counted_by_the_page_and_by_the_server(page: Page, steps: str, count: list[int]) -> None:
    told = call(page, "unread", f"(() => {{ const u = new m.Unread(); {steps}; return [u.count, u.mentions]; }})()")

    assert told == count


@pytest.mark.parametrize(
    ("users", "line"),
    [
        ([], ""),
        (["ann"], "ann is typing\u2026"),
        (["ann", "bob"], "ann and bob are typing\u2026"),
        (["ann", "bob", "carl"], "ann, bob and carl are typing\u2026"),
        (["ann", "bob", "carl", "dora"], "Several people are typing\u2026"),
    ],
)
def test_those_who_type_are_named_while_they_are_few(page: Page, users: list[str], line: str) -> None:
    assert call(page, "typing", "m.typingLine(a, (user) => [user]).join('')", users) == line
