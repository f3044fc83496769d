"""What was said before, changed, taken back and not read yet, in a real browser."""

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Route, WebSocket, WebSocketRoute, expect

from tests.live.browser import REFUSED, Visitor
from tests.live.cable import Cable
from tests.live.conftest import Invite, Site
from tests.live.people import Chatter

BEGINNING = "This is the beginning of garden."


@pytest.fixture
def zoe(site: Site) -> Chatter:
    """Somebody without a browser, who has made the channel `garden`."""
    zoe = site.person("zoe")
    assert zoe.create("garden").status == 201
    return zoe.enter("garden")


def say(chatter: Chatter, *texts: str) -> list[int]:
    """Say all of it, and return the offsets."""
    return [chatter.ask(type="publish", text=text)["offset"] for text in texts]


def texts_of(visitor: Visitor) -> Locator:
    return visitor.log.locator(".message .text")


def scroller(visitor: Visitor) -> Locator:
    return visitor.log.locator("..")


def press(visitor: Visitor, *keys: str) -> None:
    for key in keys:
        visitor.page.keyboard.press(key)


@pytest.mark.settings(CHAT_MESSAGE_RATE="0")
def test_what_was_said_before_is_there_page_by_page_to_the_beginning(zoe: Chatter, ann: Visitor) -> None:
    lines = [f"line {number}." for number in range(120)]
    offsets = say(zoe, *lines)
    zoe.ask(type="edit", target=offsets[3], text="line three.")
    zoe.ask(type="delete", target=offsets[4])
    ann.enter("garden")
    expect(ann.message("line 119.")).to_be_in_viewport()
    expect(texts_of(ann)).to_have_count(50)

    scroller(ann).focus()
    press(ann, "Home")
    expect(texts_of(ann)).to_have_count(100)
    expect(ann.message("line 70."), "what was read stays where it was").to_be_in_viewport()
    press(ann, "Home")

    expect(ann.page.get_by_text(BEGINNING)).to_be_visible()
    expect(texts_of(ann)).to_have_text([*lines[:3], "line three.", "Message deleted", *lines[5:]])
    expect(ann.message("line three.").locator(".edited")).to_have_attribute("title", re.compile("^Edited "))
    expect(ann.log.locator(".rule"), "one day has one rule").to_have_count(1)
    say(zoe, "and live.")
    expect(ann.page.get_by_role("button", name="New messages below")).to_be_visible()
    ann.page.reload()
    ann.wait_until_in("garden")
    expect(texts_of(ann)).to_have_text([*lines[71:], "and live."])


def test_history_that_cannot_be_had_is_asked_for_again_on_demand(zoe: Chatter, ann: Visitor) -> None:
    say(zoe, "hello")
    asked: list[str] = []

    def refuse_once(client: WebSocketRoute) -> None:
        server = client.connect_to_server()

        def pass_on(text: str | bytes) -> None:
            frame = json.loads(text)
            if frame["type"] != "history" or asked:
                server.send(text)
            else:
                asked.append(frame["id"])
                refusal = {"code": "forbidden", "message": "not here", "retry": False}
                client.send(json.dumps({"type": "error", "channel": "garden", "id": frame["id"], **refusal}))

        client.on_message(pass_on)

    ann.page.route_web_socket("**/ws**", refuse_once)
    ann.page.reload()
    ann.enter("garden")
    expect(ann.page.get_by_text("Older messages could not be loaded: Not here.")).to_be_visible()

    ann.page.get_by_role("button", name="Try again").click()

    ann.hears("hello")
    expect(ann.page.get_by_text(BEGINNING)).to_be_visible()


def test_an_edit_and_a_delete_are_seen_by_others_and_last(ann: Visitor, bob: Visitor) -> None:
    ann.create("garden")
    bob.enter("garden")
    ann.say("one")
    ann.say("two <b>")
    bob.hears("one", "two <b>")
    ann.field.fill("a draft")
    ann.field.fill("")

    ann.field.press("ArrowUp")
    expect(ann.field).to_have_value("two <b>")
    expect(ann.field).to_have_accessible_description(re.compile("^You are editing a message."))
    ann.field.press("Escape")
    expect(ann.field).to_have_value("")
    ann.field.press("ArrowUp")
    ann.say("two, changed")
    ann.message("one").focus()
    press(ann, "Tab", "Tab", "Enter")
    expect(ann.page.get_by_role("button", name="Keep")).to_be_focused()
    press(ann, "Escape")
    expect(ann.message("one")).to_be_focused()
    press(ann, "Tab", "Tab", "Enter", "Shift+Tab", "Enter")

    for visitor in (ann, bob):
        expect(texts_of(visitor)).to_have_text(["Message deleted", "two, changed"])
        expect(visitor.message("two, changed").locator(".edited")).to_be_visible()
    expect(ann.log.locator(".message").first).to_be_focused()
    expect(ann.log.locator(".message").first.get_by_role("button")).to_have_count(0)
    expect(bob.log.get_by_role("button"), "nothing of hers").to_have_count(0)
    bob.page.reload()
    bob.wait_until_in("garden")
    expect(texts_of(bob)).to_have_text(["Message deleted", "two, changed"])


def test_a_draft_waits_while_one_edits_and_a_message_that_goes_ends_the_editing(ann: Visitor, zoe: Chatter) -> None:
    ann.enter("garden")
    ann.say("mine")
    ann.hears("mine")
    ann.field.fill("half a thought")
    tab = ann.page.context.new_page()
    tab.goto(ann.page.url)

    ann.message("mine").hover()
    ann.message("mine").get_by_role("button", name="Edit").click()
    expect(ann.field).to_have_value("mine")
    message = tab.get_by_role("log").locator(".message")
    message.hover()
    message.get_by_role("button", name="Delete").click()
    tab.get_by_role("group", name="Delete this message?").get_by_role("button", name="Delete").click()

    expect(ann.page.get_by_role("alert")).to_have_text("The message that you were editing was deleted meanwhile.")
    expect(ann.field).to_have_value("half a thought")


def test_what_the_server_does_not_allow_is_told_in_its_words(ann: Visitor, zoe: Chatter) -> None:
    say(zoe, "hers")

    def promote(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "moderator": True})

    ann.page.route("**/token", promote)
    ann.enter("garden")
    ann.delete("hers")

    failed = ann.log.locator(".failed")
    expect(failed).to_contain_text("Not deleted: This message is somebody else's.")
    failed.get_by_role("button", name="Discard").click()
    expect(failed).to_have_count(0)
    expect(ann.message("hers")).to_be_focused()


def test_what_was_not_read_is_counted_and_marked_until_it_is_read(ann: Visitor, zoe: Chatter) -> None:
    ann.enter("garden")
    say(zoe, "old")
    ann.hears("old")
    ann.create("kitchen")

    say(zoe, "new", "and you, @ANN?")
    expect(ann.channel("garden")).to_have_accessible_name("garden @1 mention 2 new 2 people")
    ann.channel("garden").click()
    expect(ann.log.locator(".rule.new ~ .message .text")).to_have_text(["new", "and you, @ANN?"])
    expect(ann.log.locator(".mention.mine")).to_have_text("@ANN")

    expect(ann.channel("garden")).to_have_accessible_name("garden 2 people")


def test_the_server_counts_what_is_not_read_where_one_is_not(ann: Visitor, zoe: Chatter) -> None:
    sockets: list[WebSocket] = []
    ann.page.on("websocket", lambda socket: sockets.append(socket))
    ann.enter("garden")
    with sockets[0].expect_event("framesent", lambda text: '"read"' in str(text)):
        say(zoe, "old")
    ann.leave("garden")

    say(zoe, "new", "and you, @ANN?")
    expect(ann.channel("garden")).to_have_accessible_name("garden @1 mention 2 new 1 person")
    ann.page.reload()
    ann.enter("garden")
    expect(ann.log.locator(".rule.new ~ .message .text")).to_have_text(["new", "and you, @ANN?"])
    expect(ann.channel("garden")).to_have_accessible_name("garden 2 people")
    with ann.page.expect_response("**/channels"):
        ann.page.reload()

    ann.wait_until_in("garden")
    ann.hears("and you, @ANN?")
    expect(ann.channel("garden"), "read once, read everywhere").to_have_accessible_name("garden 2 people")
    expect(ann.log.locator(".rule.new")).to_have_count(0)


def test_who_types_is_seen_to_until_it_is_said(ann: Visitor, bob: Visitor) -> None:
    ann.create("garden")
    bob.enter("garden")

    bob.field.press_sequentially("hi")
    line = ann.page.locator("#typing")
    expect(line).to_have_text("bob smith is typing…")
    expect(line).not_to_have_attribute("aria-live", re.compile("."))
    bob.field.press("Enter")

    ann.hears("hi")
    expect(line).to_be_empty()
    expect(bob.page.locator("#typing")).to_be_empty()


@pytest.fixture
def cable(site: Site) -> Iterator[Cable]:
    with Cable(site.url) as cable:
        yield cable


def test_an_edit_during_a_cut_is_made_when_the_line_is_back(ann: Visitor, invite: Invite, cable: Cable) -> None:
    carl = invite("carl", at=cable)
    ann.create("garden")
    carl.enter("garden")
    carl.say("from carl")
    ann.hears("from carl")
    carl.field.press("ArrowUp")

    cable.cut()
    expect(carl.page.locator("#state")).not_to_have_text("Connected")
    expect(carl.field).to_have_value("from carl")
    carl.say("from carl, changed")
    expect(carl.message("from carl, changed")).to_contain_text("Saving…")
    ann.say("meanwhile")
    cable.mend()

    for visitor in (ann, carl):
        expect(texts_of(visitor)).to_have_text(["from carl, changed", "meanwhile"])
        expect(visitor.message("from carl, changed").locator(".edited")).to_be_visible()
    expect(carl.log).not_to_contain_text("Saving")
    carl.forgive("WebSocket connection")
    carl.forgive(REFUSED)


@pytest.mark.settings(CHAT_MESSAGE_RATE="0", CHAT_RESUME_LIMIT="5")
def test_a_log_that_cannot_be_gone_on_from_begins_anew_with_the_newest(invite: Invite, cable: Cable, zoe: Chatter) -> None:
    say(zoe, *(f"before {number}." for number in range(60)))
    carl = invite("carl", at=cable)
    carl.enter("garden")
    carl.hears("before 59.")

    cable.cut()
    expect(carl.page.locator("#state")).not_to_have_text("Connected")
    missed = [f"missed {number}." for number in range(20)]
    say(zoe, *missed)
    cable.mend()

    newest = [*(f"before {number}." for number in range(30, 60)), *missed]
    expect(texts_of(carl)).to_have_text(newest)
    scroller(carl).focus()
    press(carl, "Home")
    expect(texts_of(carl)).to_have_text([*(f"before {number}." for number in range(30)), *newest])
    carl.forgive("WebSocket connection")
    carl.forgive(REFUSED)
