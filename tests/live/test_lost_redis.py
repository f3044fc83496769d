"""A site over a Valkey that loses everything, or goes away: what it answers, and what its page makes of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect
from websockets.exceptions import InvalidStatus

from tests.live.browser import REFUSED
from tests.live.conftest import Invite, Site
from tests.live.people import Answer, Place
from tests.live.servers import gunicorn, until
from tests.valkey import OwnValkey, RedisServer

# What a screen reader reads out: what comes into a live region that is not off.
LISTEN = """() => {
  window.readOut = [];
  new MutationObserver((changes) => {
    for (const { target, addedNodes } of changes) {
      const region = target.closest("[role=log], [role=status], [role=alert]");
      if (!region || region.ariaLive === "off") continue;
      for (const node of addedNodes) readOut.push((node.querySelector?.(".text") ?? node).textContent);
    }
  }).observe(document.body, { childList: true, subtree: true });
}"""


@pytest.fixture
def redis(own_valkey: OwnValkey) -> RedisServer:
    return own_valkey(appendonly=True)


@pytest.fixture
def site(redis: RedisServer, tmp_path: Path) -> Iterator[Site]:
    with gunicorn(tmp_path / "instance", CHAT_REDIS_URL=redis.url) as (server, url):
        yield Site(server, url, Place(url))


def refusal(answer: Answer) -> tuple[int, str, str | None]:
    return answer.status, answer.json["error"]["code"], answer.headers["Retry-After"]


def test_while_the_valkey_is_away_requests_and_handshakes_get_503_and_the_token_is_good_later(
    site: Site, redis: RedisServer
) -> None:
    ann = site.person("ann")
    assert ann.create("lobby").status == 201
    protocols = ["chat.v1", f"chat.token.{ann.token('lobby')}"]
    redis.kill()

    asked = [ann.post("/token", {"channel": "lobby"}), ann.request("GET", "/chat/channels"), ann.create("garden")]
    with pytest.raises(InvalidStatus) as caught:
        site.place.websocket("/chat/ws", subprotocols=protocols)

    handshake = caught.value.response
    asked.append(Answer(handshake.status_code, handshake.headers, handshake.body))
    assert {refusal(answer) for answer in asked} == {(503, "broker_unavailable", "1")}
    redis.start()
    until(lambda: ann.request("GET", "/readyz").status == 200, "ready")
    site.place.websocket("/chat/ws", subprotocols=protocols).close()


def test_a_page_goes_on_when_the_valkey_has_lost_everything(invite: Invite, site: Site, redis: RedisServer) -> None:
    ann = invite("ann")
    ann.create("garden")
    eve = site.person("eve").enter("garden")
    eve.say("before")
    ann.hears("before")
    ann.say("mine")
    texts = ann.log.locator(".text")
    expect(texts).to_have_text(["before", "mine"])
    ann.field.fill("ann was about to")
    ann.page.evaluate(LISTEN)
    connections: list[object] = []
    ann.page.on("websocket", lambda connection: connections.append(connection))

    redis.client().flushall()
    eve.say("after")
    expect(texts).to_have_text(["before", "mine", "after"])
    day = ann.log.locator(".rule").inner_text()
    assert set(ann.page.evaluate("readOut")) <= {day, "after"}
    expect(ann.field).to_have_value("ann was about to")

    eve.send(type="typing", channel="garden")
    expect(ann.page.locator("#typing")).to_have_text("eve is typing…")
    redis.client().flushall()
    ann.say("and on")  # which the server finds out by, and what is under way is said again
    expect(texts).to_have_text(["before", "mine", "after", "and on"])
    expect(ann.page.locator("#typing")).to_be_empty(timeout=2000)
    expect(ann.page.locator(".pending")).to_have_count(0)
    expect(ann.people).to_have_text(["ann (you)", "eve"])
    expect(ann.page.locator("#people-count")).to_have_text("2")
    expect(ann.log).not_to_contain_text("has entered")
    assert connections == []


def test_a_page_waits_for_a_valkey_that_is_away(invite: Invite, site: Site, redis: RedisServer) -> None:
    ann = invite("ann")
    for name in ("attic", "garden"):
        assert site.person(f"owner of {name}").create(name).status == 201
    ann.enter("garden")
    state, pending = ann.page.locator("#state"), ann.page.locator(".pending")

    redis.kill()
    ann.say("meanwhile")
    expect(pending).to_contain_text("The log cannot be reached. It will be sent in a moment.")
    expect(state).to_have_text("Connected")
    ann.page.evaluate("location.hash = '#/attic'")
    expect(state).to_have_text("Connecting…")
    redis.start()

    ann.wait_until_in("attic")
    ann.enter("garden")
    expect(ann.log.locator(".text")).to_have_text(["meanwhile"])
    expect(pending).to_have_count(0)
    ann.forgive(REFUSED)
