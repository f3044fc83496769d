"""A network that is cut or falls silent, and a server that restarts, while people type in a real browser."""

import re
import signal
from collections.abc import Iterator

import pytest
from playwright.sync_api import Route, WebSocketRoute, expect

from tests.live.browser import REFUSED, Visitor
from tests.live.cable import Cable
from tests.live.conftest import Invite, Site

LOST = "Connection lost. Trying again"


@pytest.fixture
def cable(site: Site) -> Iterator[Cable]:
    with Cable(site.url) as cable:
        yield cable


@pytest.fixture
def bob(invite: Invite, cable: Cable) -> Visitor:
    """At the other end of a cable."""
    return invite("bob", at=cable)


def state_of(visitor: Visitor) -> str:
    return visitor.page.locator("#state").inner_text()


def heard_once(visitor: Visitor, *texts: str) -> None:
    visitor.hears(*texts)
    for text in texts:
        expect(visitor.message(text)).to_have_count(1)


def forgive_refusals(*visitors: Visitor) -> None:
    for visitor in visitors:
        visitor.forgive("WebSocket connection")
        visitor.forgive(REFUSED)


def test_a_cut_network_is_survived_while_both_type(ann: Visitor, bob: Visitor, cable: Cable) -> None:
    ann.create("garden")
    bob.enter("garden")
    ann.say("before")
    bob.hears("before")
    ann.field.fill("ann was about to")

    cable.cut()
    expect(bob.page.locator("#state")).to_have_text(LOST)
    bob.say("from bob")
    expect(bob.page.locator(".pending")).to_contain_text("Waiting for the connection")
    bob.field.fill("bob was about to")
    ann.say("from ann")
    ann.field.fill("ann was about to")
    cable.mend()

    for visitor in (ann, bob):
        heard_once(visitor, "before", "from ann", "from bob")
        expect(visitor.field).to_have_value(f"{visitor.name} was about to")
        expect(visitor.page.locator(".pending")).to_have_count(0)
        expect(visitor.log).not_to_contain_text("may be missing")
    forgive_refusals(bob)


def test_a_network_that_has_fallen_silent_is_found_out_when_something_is_said(
    ann: Visitor, bob: Visitor, cable: Cable
) -> None:
    bob.turn_clock()
    ann.create("garden")
    bob.enter("garden")

    cable.freeze()
    bob.say("from the tunnel")
    expect(bob.page.locator(".pending")).to_contain_text("Sending")
    bob.page.clock.run_for(10_000)
    expect(bob.page.locator(".pending")).to_contain_text("Waiting for the connection")
    assert state_of(bob) in (LOST, "Connecting…")
    cable.mend()  # and what was held up arrives, and is said again

    for visitor in (ann, bob):
        heard_once(visitor, "from the tunnel")
    forgive_refusals(bob)


def test_a_network_that_has_fallen_silent_is_found_out_by_the_pings_that_do_not_come(bob: Visitor, cable: Cable) -> None:
    bob.turn_clock()
    bob.create("garden")

    cable.freeze()
    bob.page.clock.run_for(39_000)
    expect(bob.page.locator("#state")).to_have_text("Connected")
    bob.page.clock.run_for(2_000)
    expect(bob.page.locator("#state")).not_to_have_text("Connected")
    cable.mend()

    bob.page.clock.fast_forward(30_000)
    bob.wait_until_in("garden")
    forgive_refusals(bob)


def test_a_delay_that_the_server_asks_for_is_counted_down_and_can_be_cut_short(bob: Visitor, cable: Cable) -> None:
    bob.create("garden")
    refuse = {"status": 503, "headers": {"Retry-After": "60"}, "json": {"error": {"code": "server_closed", "message": ""}}}
    bob.page.route("**/token", lambda route: route.fulfill(**refuse))

    cable.cut()
    expect(bob.page.locator("#countdown")).to_have_text(re.compile("in [56][0-9] s"))
    expect(bob.page.locator("#state")).to_have_text(LOST)
    cable.mend()
    bob.page.unroute("**/token")
    bob.page.get_by_role("button", name="Connect now").click()

    bob.wait_until_in("garden")
    expect(bob.page.get_by_role("button", name="Connect now")).to_be_hidden()
    expect(bob.page.locator("#countdown")).to_be_empty()
    forgive_refusals(bob)


def test_a_restart_of_the_server_is_survived_while_both_type(ann: Visitor, bob: Visitor, site: Site) -> None:
    ann.create("garden")
    bob.enter("garden")
    ann.say("before")
    bob.hears("before")
    bob.field.fill("bob was about to")

    site.server.signal(signal.SIGHUP)
    expect(ann.page.locator("#state")).to_have_text(LOST)
    ann.say("meanwhile")
    ann.wait_until_in("garden")
    bob.wait_until_in("garden")
    expect(bob.field).to_have_value("bob was about to")
    bob.say("after")

    for visitor in (ann, bob):
        heard_once(visitor, "before", "meanwhile", "after")
    forgive_refusals(ann, bob)


def test_a_browser_that_is_offline_says_so_and_is_back_at_once(ann: Visitor, bob: Visitor, cable: Cable) -> None:
    ann.create("garden")
    bob.enter("garden")
    cable.cut()
    expect(bob.page.locator("#state")).not_to_have_text("Connected")
    bob.page.context.set_offline(True)  # not before: Chromium may then keep the cut from the page
    expect(bob.page.locator("#state")).to_have_text("You are offline.")

    bob.say("from the tunnel")
    expect(bob.page.locator(".pending")).to_contain_text("Waiting for the connection")
    cable.mend()
    bob.page.context.set_offline(False)

    for visitor in (ann, bob):
        heard_once(visitor, "from the tunnel")
    bob.forgive("net::ERR_INTERNET_DISCONNECTED")
    forgive_refusals(bob)


def test_a_whisper_that_was_held_up_is_heard_once(ann: Visitor, bob: Visitor, cable: Cable) -> None:
    ann.create("garden")
    bob.enter("garden")
    cable.freeze()
    bob.say("/w ann psst")
    expect(bob.page.locator(".pending")).to_contain_text("Sending")

    cable.cut()  # what it held is lost
    cable.mend()

    for visitor in (ann, bob):
        heard_once(visitor, "psst")
    expect(bob.page.locator(".pending")).to_have_count(0)
    forgive_refusals(bob)


def test_a_whisper_that_is_said_again_is_heard_once(ann: Visitor, bob: Visitor, cable: Cable) -> None:
    ann.create("garden")
    bob.enter("garden")
    lose_first = iter([_lose_acks])
    bob.page.route_web_socket("**/ws**", lambda socket: next(lose_first, WebSocketRoute.connect_to_server)(socket))
    bob.page.reload()
    bob.wait_until_in("garden")
    bob.say("/w ann psst")
    ann.hears("psst")

    cable.cut()
    cable.mend()
    bob.say("after")

    for visitor in (ann, bob):
        heard_once(visitor, "after")
        expect(visitor.page.locator(".pending")).to_have_count(0)
    expect(ann.message("psst")).to_have_count(1)
    forgive_refusals(bob)


def _lose_acks(client: WebSocketRoute) -> None:
    """Carry everything but whispers, and acks of what was not logged, to the page."""
    server = client.connect_to_server()
    server.on_message(lambda text: None if '"whisper"' in str(text) or '"offset":null' in str(text) else client.send(text))


def test_what_could_not_be_sent_outlives_a_reload(ann: Visitor, bob: Visitor, cable: Cable) -> None:
    ann.create("garden")
    bob.enter("garden")
    cable.cut()
    bob.say("from the tunnel")
    bob.say("and this")
    expect(bob.page.locator(".pending")).to_have_count(2)
    cable.mend()

    bob.page.on("dialog", lambda dialog: dialog.accept())
    bob.page.reload()

    expect(ann.log.locator(".text")).to_have_text(["from the tunnel", "and this"])
    expect(bob.page.locator(".pending")).to_have_count(0)
    forgive_refusals(bob)


def test_a_browser_that_is_online_again_still_keeps_the_delay_that_was_asked_for(bob: Visitor, cable: Cable) -> None:
    bob.create("garden")
    asked = []

    def refuse(route: Route) -> None:
        asked.append(route)
        route.fulfill(status=503, headers={"Retry-After": "60"}, json={"error": {"code": "server_closed", "message": ""}})

    bob.page.route("**/token", refuse)
    cable.cut()
    expect(bob.page.locator("#countdown")).to_have_text(re.compile("in [56][0-9] s"))

    bob.page.evaluate("dispatchEvent(new Event('online'))")
    bob.page.evaluate("location.hash = ''")
    expect(bob.page.locator("#nowhere")).to_be_visible()
    bob.page.evaluate("location.hash = '#/garden'")

    expect(bob.page.locator("#countdown")).to_have_text(re.compile("in [56][0-9] s"))
    assert len(asked) == 1
    forgive_refusals(bob)


@pytest.mark.settings(CHAT_MESSAGE_RATE="5")
def test_what_was_said_too_fast_is_sent_by_itself_a_little_later(ann: Visitor, bob: Visitor) -> None:
    ann.create("garden")
    bob.enter("garden")
    texts = [*(f"line {number}." for number in range(18)), "and last"]  # 15 are taken at once
    at_once = "(texts) => texts.forEach((text) => { document.getElementById('text').value = text; say.requestSubmit() })"
    ann.page.evaluate(at_once, texts[:-1])
    expect(ann.page.locator(".pending").last).to_contain_text("Sending")
    ann.say(texts[-1])

    expect(bob.log.locator(".text")).to_have_text(texts)
    expect(ann.page.locator(".pending")).to_have_count(0)
