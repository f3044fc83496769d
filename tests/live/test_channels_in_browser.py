"""Several channels in one page: lists, counts, what is new, and drafts."""

from playwright.sync_api import expect

from tests.live.browser import Visitor
from tests.live.conftest import Invite, Site


def test_the_counts_in_the_list_follow_who_comes_and_goes(ann: Visitor, bob: Visitor) -> None:
    ann.create("garden")
    expect(bob.channel("garden")).to_have_accessible_name("garden 1 person")

    bob.enter("garden")
    for visitor in (ann, bob):
        expect(visitor.channel("garden")).to_have_accessible_name("garden 2 people")
    bob.page.close()

    expect(ann.channel("garden")).to_have_accessible_name("garden 1 person")


def test_a_channel_left_open_tells_when_something_new_is_said_there(ann: Visitor, bob: Visitor) -> None:
    ann.create("garden")
    bob.enter("garden")
    ann.say("old")
    bob.hears("old")
    bob.create("kitchen")
    expect(bob.page).to_have_title("kitchen \u2013 Chat")

    ann.say("new")

    expect(bob.channel("garden")).to_have_accessible_name("garden 1 new 2 people")
    expect(bob.page).to_have_title("\u2022 kitchen \u2013 Chat")
    expect(bob.page.locator("#announcer")).to_have_text("There is something new in garden.")
    bob.channel("garden").click()
    bob.wait_until_in("garden")
    expect(bob.channel("garden")).to_have_accessible_name("garden 2 people")
    expect(bob.page).to_have_title("garden \u2013 Chat")
    expect(bob.log.locator(".rule.new ~ .message .text")).to_have_text(["new"])


def test_what_is_said_where_one_looks_is_not_new(ann: Visitor, bob: Visitor) -> None:
    ann.create("garden")
    bob.enter("garden")

    ann.say("hello")

    bob.hears("hello")
    expect(bob.page).to_have_title("garden \u2013 Chat")
    expect(bob.log.locator(".rule.new")).to_have_count(0)


def test_each_channel_keeps_its_draft_over_a_reload_too(ann: Visitor) -> None:
    ann.create("garden")
    ann.field.fill("half a")
    ann.create("kitchen")
    expect(ann.field).to_have_value("")
    ann.field.fill("another")

    ann.page.reload()
    ann.wait_until_in("kitchen")
    expect(ann.field).to_have_value("another")
    ann.channel("garden").click()
    ann.wait_until_in("garden")
    expect(ann.field).to_have_value("half a")

    ann.field.press("Enter")
    ann.hears("half a")
    ann.page.reload()
    ann.wait_until_in("garden")
    expect(ann.field).to_have_value("")


def test_channels_stay_open_over_a_reload(ann: Visitor, bob: Visitor) -> None:
    ann.create("garden")
    ann.create("kitchen")
    ann.page.reload()
    ann.wait_until_in("kitchen")

    bob.enter("garden")
    bob.say("hello")

    expect(ann.channel("garden")).to_have_accessible_name("garden 1 new 2 people")


def test_of_many_channels_the_one_visited_longest_ago_is_left(site: Site, invite: Invite) -> None:
    makers = [site.person("one"), site.person("two")]  # one alone would be throttled
    names = [f"channel {number}" for number in range(21)]
    for number, name in enumerate(names):
        assert makers[number % 2].create(name).status == 201
    ann = invite("ann")
    sockets: list[str] = []
    ann.page.on("websocket", lambda socket: sockets.append(socket.url))

    for name in names:
        ann.enter(name)

    expect(ann.page.locator("#open-list .label")).to_have_text(names[1:])
    expect(ann.page.locator("#channel-list .label")).to_have_text(names[:1])
    assert len(sockets) == 1, "one carries them all"


def test_who_leaves_a_channel_is_gone_and_finds_what_was_said_on_coming_back(ann: Visitor, bob: Visitor) -> None:
    ann.create("garden")
    bob.enter("garden")
    ann.say("first")
    bob.hears("first")

    bob.leave("garden")
    expect(bob.page.get_by_role("heading", name="Chat", exact=True)).to_be_visible()
    expect(bob.finder).to_be_focused()
    ann.hears("bob smith has left.")
    ann.say("second")
    ann.hears("second")
    bob.enter("garden")

    bob.hears("second")
    for text in ("first", "second"):
        expect(bob.message(text)).to_have_count(1)
    expect(bob.log).not_to_contain_text("may be missing")


def test_two_tabs_of_one_user_are_one_user(ann: Visitor, bob: Visitor) -> None:
    ann.create("garden")
    bob.enter("garden")
    tab = bob.page.context.new_page()
    tab.goto(bob.page.url)
    expect(tab.locator("#state")).to_have_text("Connected")

    tab.get_by_label("Message", exact=True).fill("from the second tab")
    tab.get_by_label("Message", exact=True).press("Enter")
    bob.hears("from the second tab")
    bob.say("from the first")
    ann.say('/w "bob smith" for both')
    expect(tab.get_by_role("log")).to_contain_text("for both")
    for visitor in (ann, bob):
        visitor.hears("from the second tab", "from the first", "for both")
    for log in (bob.log, tab.get_by_role("log")):
        expect(log.locator(".message .text")).to_have_text(["from the second tab", "from the first", "for both"])
    expect(ann.people).to_have_text(["ann (you)", "bob smith"])

    tab.close()
    bob.say("still here")
    ann.hears("still here")
    expect(ann.log).not_to_contain_text("has left")


def test_two_hundred_channels_can_be_looked_through(site: Site, invite: Invite) -> None:
    makers = [site.person("one"), site.person("two")]  # one alone would be throttled
    for number in range(200):
        assert makers[number % 2].create(f"channel {number}").status == 201
    ann = invite("ann")
    shown = ann.page.locator("#channel-list .label")

    expect(shown).to_have_text([f"channel {number}" for number in range(200)])
    ann.finder.fill("19")
    expect(shown).to_have_text(["channel 19", "channel 119", *(f"channel {number}" for number in range(190, 200))])
    ann.finder.fill("channel 199")
    ann.finder.press("Enter")
    ann.wait_until_in("channel 199")
    assert ann.page.evaluate("document.documentElement.scrollHeight <= innerHeight"), "the list scrolls, not the page"
