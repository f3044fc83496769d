"""The page in a real browser, on a real server: two people chat."""

import pytest
from playwright.sync_api import expect

from tests.live.browser import REFUSED, Visitor
from tests.live.conftest import Invite

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def test_two_people_chat_in_a_channel_that_one_of_them_made(ann: Visitor, bob: Visitor) -> None:
    ann.create("garden")
    bob.enter("garden")
    ann.hears("bob smith has entered.")

    ann.say("hello bob")
    bob.hears("hello bob")
    bob.say("hello ann")

    for visitor in (ann, bob):
        visitor.hears("hello bob", "hello ann")
        expect(visitor.message("hello bob").locator(".from")).to_have_text("ann")
        expect(visitor.message("hello ann").locator(".from")).to_have_text("bob smith")
        expect(visitor.page.locator(".pending")).to_have_count(0)
        expect(visitor.people).to_have_text(["ann (you)", "bob smith"] if visitor is ann else ["ann", "bob smith (you)"])


def test_a_whisper_reaches_one_and_not_the_others(ann: Visitor, bob: Visitor, invite: Invite) -> None:
    eve = invite("eve")
    ann.create("garden")
    bob.enter("garden")
    eve.enter("garden")

    ann.say('/w "bob smith" only for you')
    ann.say("for everybody")

    ann.hears("whispers to bob smith", "only for you", "for everybody")
    bob.hears("whispers to you", "only for you", "for everybody")
    eve.hears("for everybody")
    expect(eve.log).not_to_contain_text("only for you")


def test_a_channel_that_somebody_else_makes_appears_by_itself(ann: Visitor, bob: Visitor) -> None:
    ann.create("garden")

    expect(bob.page.get_by_role("link", name="garden 1 person")).to_be_visible()


def test_choosing_a_person_begins_a_whisper(ann: Visitor, bob: Visitor) -> None:
    ann.create("garden")
    bob.enter("garden")

    ann.page.get_by_role("button", name="Whisper to bob smith").click()

    expect(ann.field).to_have_value('/w "bob smith" ')


def test_another_chats_command_is_not_said_aloud(ann: Visitor) -> None:
    ann.create("lobby")
    ann.say("/msg bob secret")

    expect(ann.page.locator("#say-error")).to_contain_text("There is no command /msg.")
    expect(ann.field).to_have_value("/msg bob secret")
    ann.say("//usr is a path, and so is")
    ann.say("/usr/bin")
    ann.hears("/usr is a path, and so is", "/usr/bin")
    expect(ann.log).not_to_contain_text("secret")


def test_a_whisper_to_somebody_who_is_not_here_is_given_back(ann: Visitor) -> None:
    ann.create("garden")

    ann.say("/w carl are you here?")

    failed = ann.page.locator(".pending.failed")
    expect(failed).to_contain_text("Not sent: nobody of that name is here.")
    failed.get_by_role("button", name="Discard").click()
    expect(failed).to_have_count(0)


def test_who_goes_is_seen_to_go(ann: Visitor, bob: Visitor) -> None:
    ann.create("garden")
    bob.enter("garden")
    ann.hears("bob smith has entered.")

    bob.page.close()

    ann.hears("bob smith has left.")
    expect(ann.people).to_have_text(["ann (you)"])


def test_what_looks_like_code_is_text(ann: Visitor, bob: Visitor) -> None:
    name = HOSTILE.replace("/", "")  # no channel's name has one
    ann.create(name)
    bob.enter(name)

    ann.say(HOSTILE)
    ann.say("javascript:alert(3)")

    bob.hears(HOSTILE, "javascript:alert(3)")
    expect(bob.log.locator("a, script, img")).to_have_count(0)
    expect(bob.channel(name)).to_have_attribute("aria-current", "page")


def test_an_address_becomes_a_link_that_gives_nothing_away(ann: Visitor) -> None:
    ann.create("garden")

    ann.say("(Https://example.org/a?b=c&d=e), or https://example.org/b.")

    links = ann.log.locator("a")
    expect(links).to_have_text(["Https://example.org/a?b=c&d=e", "https://example.org/b"])
    expect(links.first).to_have_attribute("href", "Https://example.org/a?b=c&d=e")
    expect(links.first).to_have_attribute("rel", "noopener noreferrer nofollow")


def test_what_would_reverse_the_writing_is_shown(ann: Visitor) -> None:
    ann.create("garden")

    ann.say("photo\u202egnp.exe")

    expect(ann.log.locator(".text").last).to_have_text("photoU+202Egnp.exe")


def test_code_that_gets_into_the_page_all_the_same_does_not_run(ann: Visitor) -> None:
    ann.page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.evil = 1'}))")
    ann.page.wait_for_function("true")

    assert ann.page.evaluate("window.evil") is None
    assert [fault for fault in ann.faults if fault.startswith("policy: script-src")]
    ann.faults.clear()


def test_a_reload_leads_back_into_the_channel(ann: Visitor) -> None:
    ann.create("caf\u00e9 & garden #1")

    ann.page.reload()

    ann.wait_until_in("caf\u00e9 & garden #1")


def test_the_back_button_leads_to_the_channel_before(ann: Visitor) -> None:
    ann.create("garden")
    ann.say("said in the garden")
    ann.hears("said in the garden")
    ann.create("kitchen")
    expect(ann.log).not_to_contain_text("said in the garden")

    ann.page.go_back()

    ann.wait_until_in("garden")
    expect(ann.message("said in the garden")).to_have_count(1)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a/b", "A channel’s name cannot have a / in it."),
        ("x" * 65, "This name has 65 characters, and at most 64 are allowed."),
        ("a‮b", "The character U+202E is not allowed in names."),
        ("a​b", "The character U+200B is not allowed in names."),
    ],
)
def test_a_name_that_no_channel_can_have_is_told_as_it_is_typed(ann: Visitor, name: str, said: str) -> None:
    ann.finder.fill(name)

    expect(ann.page.locator("#find-hint")).to_have_text(said)
    expect(ann.finder).to_have_attribute("aria-invalid", "true")
    expect(ann.page.get_by_role("button", name="Create", exact=True)).to_be_hidden()
    ann.finder.press("Enter")
    expect(ann.finder).to_be_focused()


def test_the_field_says_what_enter_would_do(ann: Visitor) -> None:
    ann.create("garden")

    ann.finder.fill(" café ")
    expect(ann.page.locator("#find-hint")).to_have_text("Enter creates “café”.")
    ann.finder.fill("garden")
    expect(ann.page.locator("#find-hint")).to_have_text("Enter opens this channel.")
    expect(ann.page.get_by_role("button", name="Create", exact=True)).to_be_hidden()
    ann.finder.press("Escape")
    expect(ann.finder).to_have_value("")


def test_why_a_channel_was_not_created_stays_until_another_name_is_typed(ann: Visitor) -> None:
    body = {"error": {"code": "forbidden", "message": "you are not allowed to do this here"}}
    ann.page.route(
        "**/channels",
        lambda route: route.fulfill(status=403, json=body) if route.request.method == "POST" else route.continue_(),
    )
    ann.finder.fill("garden")
    ann.finder.press("Enter")
    hint = ann.page.locator("#find-hint")
    expect(hint).to_have_text("You are not allowed to do this here.")

    with ann.page.expect_response("**/channels"):  # the list is drawn anew
        ann.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    expect(hint).to_have_text("You are not allowed to do this here.")
    expect(ann.finder).to_have_attribute("aria-invalid", "true")
    ann.finder.fill("kitchen")
    expect(hint).to_have_text("Enter creates \u201ckitchen\u201d.")
    ann.forgive(REFUSED)


def test_a_name_that_somebody_else_has_just_taken_leads_to_that_channel(ann: Visitor, bob: Visitor) -> None:
    ann.page.route("**/channels", lambda route: route.abort() if route.request.method == "GET" else route.continue_())
    expect(ann.page.locator("#channels-error")).to_contain_text("cannot be reached")
    bob.create("garden")

    ann.finder.fill("garden")
    ann.finder.press("Enter")

    ann.wait_until_in("garden")
    expect(ann.people).to_have_count(2)
    ann.forgive(REFUSED)


def test_a_message_that_is_too_long_is_kept_in_the_field(ann: Visitor) -> None:
    ann.create("garden")

    ann.say("\u00e9" * 3000)

    expect(ann.page.locator("#say-error")).to_contain_text("6000 bytes, and at most 4096")
    expect(ann.field).to_have_value("\u00e9" * 3000)


def test_on_a_phone_the_lists_fold_away_and_nothing_is_wider_than_the_page(invite: Invite) -> None:
    ann = invite("ann", width=360)
    ann.create("garden")
    expect(ann.page.get_by_role("navigation")).to_be_hidden()

    ann.say("W" * 500)
    ann.hears("W" * 500)
    ann.page.get_by_role("button", name="Channels").click()

    expect(ann.page.get_by_role("navigation")).to_be_visible()
    assert ann.page.evaluate("document.documentElement.scrollWidth") == 360


def test_everything_can_be_done_from_the_keyboard(ann: Visitor) -> None:
    page = ann.page
    ann.finder.focus()
    page.keyboard.type("garden")
    page.keyboard.press("Enter")
    ann.wait_until_in("garden")

    expect(ann.field).to_be_focused()
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.keyboard.press("Enter")

    ann.hears("one\ntwo")
