"""How the page looks and behaves where a stylesheet can be wrong: grouping, days, long and foreign texts, narrow screens,
motion, focus."""

import re
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Locator, expect

from tests.live.browser import Visitor
from tests.live.conftest import Invite

LONGEST = "\U0001f468\u200d\U0001f33e\U0001f331 gr\u00fcn " * 138  # 4,002 bytes
ODD = (
    "W" * 500,
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u062c\u0645\u064a\u0639 " * 20,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466" * 60,
    "line\n" * 40,
    LONGEST,
)


def fits(visitor: Visitor) -> bool:
    """Whether nothing is wider than the screen, nor cut off at its side."""
    root = "document.documentElement.scrollWidth <= innerWidth"
    return bool(
        visitor.page.evaluate(
            f"{root} && [...document.querySelectorAll('.text')].every(e => e.scrollWidth <= e.clientWidth)"
        )
    )


def style(element: Locator, name: str) -> str:
    return str(element.evaluate(f"(element) => getComputedStyle(element).{name}"))


@pytest.mark.parametrize("width", [320, 768, 1440])
def test_texts_of_all_kinds_fit(invite: Invite, width: int) -> None:
    ann = invite("ann", width=width)
    ann.create("\u65e5\u672c\u8a9e" + "x" * 61)

    for text in ODD:
        ann.say(text)
        expect(ann.page.locator(".pending")).to_have_count(0)

    expect(ann.log.locator(".text")).to_have_count(len(ODD))
    assert fits(ann)


def test_writing_from_right_to_left_begins_at_the_right_and_leaves_the_rest_alone(ann: Visitor) -> None:
    ann.create("garden")
    ann.say("hello")
    ann.say(ODD[1].strip())
    texts = ann.log.locator(".text")
    expect(texts).to_have_count(2)

    assert [style(texts.nth(number), "direction") for number in (0, 1)] == ["ltr", "rtl"]
    assert style(ann.log, "direction") == "ltr"


def test_one_author_s_messages_stand_under_one_head(ann: Visitor, bob: Visitor) -> None:
    ann.create("garden")
    bob.enter("garden")
    ann.say("one")
    ann.say("two")
    bob.hears("two")
    bob.say("three")
    ann.hears("three")
    ann.say("/w ann four")
    bob.say("/w ann five")
    bob.say("/w ann six")
    ann.hears("four", "five", "six")

    for text, follows in {"one": False, "two": True, "three": False, "four": False, "five": False, "six": True}.items():
        message = ann.message(text)
        expect(message).to_have_class(re.compile(r"\bfollows\b") if follows else re.compile(r"^(?!.*follows)"))
        expect(message.locator(".from"), "whoever cannot see it is told the author each time").to_have_count(1)


def test_a_new_day_is_told_by_a_rule(ann: Visitor, bob: Visitor) -> None:
    ann.turn_clock()
    ann.create("garden")
    ann.say("said yesterday, as ann will see it")
    expect(ann.log.locator(".rule")).to_have_count(1)

    ann.page.clock.set_system_time(datetime(2041, 5, 6, 12))
    bob.enter("garden")

    ann.hears("bob smith has entered.")
    expect(ann.log.locator(".rule")).to_have_text([re.compile("."), "Monday, May 6"])
    ann.say("said today, says the server, whose clock is another")
    ann.hears("said today")
    bob.page.close()
    ann.hears("bob smith has left.")
    expect(ann.log.locator(".rule"), "never back, and so not again").to_have_count(2)


def test_times_are_those_of_the_reader(invite: Invite) -> None:
    ann = invite("ann", timezone_id="Asia/Tokyo", locale="en-GB")
    ann.create("garden")
    ann.say("hello")
    ann.hears("hello")

    time = ann.message("hello").locator("time")
    date = datetime.fromisoformat(str(time.get_attribute("datetime")))
    expect(time).to_have_text(f"{date.astimezone(ZoneInfo('Asia/Tokyo')):%H:%M}")


def test_on_a_phone_the_lists_are_drawers(invite: Invite) -> None:
    ann = invite("ann", width=360)
    page = ann.page
    channels, people = page.locator("#channels"), page.locator("#people")
    expect(channels, "where nothing is chosen there is nothing else to do").to_be_visible()
    ann.create("garden")
    expect(channels).to_be_hidden()
    expect(people).to_be_hidden()

    page.get_by_role("button", name="Channels").click()
    expect(channels).to_be_focused()
    expect(page.locator(".main")).to_have_attribute("inert", "")
    page.keyboard.press("Escape")
    expect(channels).to_be_hidden()
    expect(page.get_by_role("button", name="Channels")).to_be_focused()

    page.get_by_role("button", name="People 1").click()
    expect(ann.people).to_have_text(["ann (you)"])
    page.mouse.click(10, 400)  # beside it
    expect(people).to_be_hidden()

    page.get_by_role("button", name="Channels").click()
    ann.channel("garden").click()
    expect(channels, "choosing what is chosen already closes it").to_be_hidden()
    expect(page.locator("#title"), "and one is in the channel").to_be_focused()


def test_a_phone_that_is_turned_has_no_drawers_left(invite: Invite) -> None:
    ann = invite("ann", width=360)
    ann.create("garden")
    ann.page.get_by_role("button", name="Channels").click()

    ann.page.set_viewport_size({"width": 1200, "height": 360})

    expect(ann.page.locator("#channels")).to_be_visible()
    expect(ann.page.locator("#veil")).to_be_hidden()
    ann.say("hello")
    ann.hears("hello")


def test_who_wants_no_motion_gets_none(invite: Invite) -> None:
    ann = invite("ann", width=360, reduced_motion="reduce")
    moves = "s.animationName !== 'none' || !/^(0s(, )?)+$/.test(s.transitionDuration)"

    assert (
        ann.page.evaluate(
            f"[...document.querySelectorAll('*')].map((e) => getComputedStyle(e)).filter((s) => {moves}).length"
        )
        == 0
    )


def test_what_has_the_focus_is_seen_to_have_it(ann: Visitor, bob: Visitor) -> None:
    ann.create("garden")
    bob.enter("garden")
    ann.hears("bob smith has entered.")
    ann.page.get_by_role("link", name="Account").focus()
    passed = set()
    for _ in range(12):
        ann.page.keyboard.press("Tab")
        focused = ann.page.locator("*:focus")
        if focused.count() == 0:  # past the last one
            break
        passed.add(focused.evaluate("(element) => element.id || element.className"))
        assert style(focused, "outline").endswith("solid 2px"), passed

    assert {"scroll", "text", "person"} <= passed


def test_the_log_follows_its_end_unless_one_reads_further_up(ann: Visitor, bob: Visitor) -> None:
    ann.create("garden")
    bob.enter("garden")
    bob.say("top\n" + "line\n" * 60)
    ann.hears("top")
    bob.say("end")
    expect(ann.message("end")).to_be_in_viewport()

    scroller = ann.log.locator("..")
    scroller.evaluate("(scroller) => { scroller.scrollTop = 100 }")
    bob.say("below")
    expect(ann.page.get_by_role("button", name="New messages below")).to_be_visible()
    ann.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert scroller.evaluate("(scroller) => scroller.scrollTop") == 100, "who comes back to the tab reads on"
    ann.page.get_by_role("button", name="New messages below").click()

    expect(ann.message("below")).to_be_in_viewport()
