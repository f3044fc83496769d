"""The states of the pages that somebody may meet, and how to get there: for the accessibility tests and the pictures.

The same people say the same things at each run.  Each state has a channel of its own, so that none shows what another one
has left behind.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, expect

from tests.live.browser import Visitor
from tests.live.cable import Cable
from tests.live.people import PASSWORD, Chatter, Person, Place
from tests.live.servers import gunicorn

ME: Final = "mara"
"""Whose page it is."""

PEOPLE: Final[Mapping[str, str]] = {
    "mara": "Mara Lindqvist",
    "ivo": "Ivo Petrov",
    "sade": "Sade Okafor",
    "tomas": "Tomás Rivera",
}

# Who is in a channel beside the visitor, and what is said there once the visitor has come.
TALKS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "release": (
        ("sade", "Morning! The build for 2.4 is through, all checks are green."),
        ("ivo", "Nice. I tried the upgrade on a copy of the data: four minutes, nothing lost."),
        ("tomas", "Then the notes are what is left.\nI have a draft, about half a page."),
        ("sade", "Send it over, I read it before lunch."),
        ("ivo", "One question: do we say that the old import format goes away in 3.0?"),
        ("tomas", "Yes, under “Soon”. Better early than as a surprise."),
    ),
    "design": (
        ("tomas", "The new icons are in the shared folder. The bell is still too heavy for small sizes, I think."),
        ("ivo", "At 16 pixels it is a blob, yes."),
    ),
    "support": (
        ("sade", "Northwind asks again about the invoice export. Who has the ticket?"),
        ("tomas", "Lena had it last week."),
    ),
    "lunch": (
        ("ivo", "The place with the soup, at half past twelve?"),
        ("tomas", "I am in."),
    ),
    "operations": (
        ("sade", "Disk on the second host is at 71 %. I move the old backups this afternoon."),
        ("ivo", "Thanks. I will keep an eye on the nightly run."),
    ),
    "garden": (
        ("tomas", "The tomatoes on the roof are ripe. Take some home!"),
        ("sade", "Already did, thank you!"),
    ),
    "night shift": (
        ("ivo", "Restarting the database in five minutes."),
        ("tomas", "Go ahead, nobody is on."),
    ),
    "travel": (
        ("ivo", "There is a night train on the ninth. Shall I book for all of us?"),
        ("tomas", "Yes please."),
        ("sade", "For me, too."),
    ),
    "board": (("sade", "The slides are in the usual place."),),
    "reading club": (
        ("sade", "Next Thursday, chapters four to six."),
        ("tomas", "I have only just begun. No spoilers, please."),
    ),
}

# What the visitor's logins are listed by.
DESK: Final = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PHONE: Final = "Mozilla/5.0 (Linux; Android 16; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0"

WHISPERED: Final = "Could you look over the bell before I show it to the others?"
ANSWERED: Final = "Gladly. Give me ten minutes."


class Team:
    """Everybody but the visitor: logged in, called by their full names, and in their channels."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._place = Place(url)
        people = {name: Person(self._place, name, agent=PHONE).register() for name in PEOPLE}
        for name, shown in PEOPLE.items():
            answer = people[name].submit("/account", do="display_name", display_name=shown)
            assert answer.status == 303, answer.text
        self._people = people
        self._chatters: dict[tuple[str, str], Chatter] = {}
        for channel, talk in TALKS.items():
            people[talk[0][0]].create(channel)
            for name in sorted({name for name, _ in talk}):
                self.enter(name, channel)

    def enter(self, name: str, channel: str) -> None:
        self._chatters[name, channel] = self._people[name].enter(channel)

    def leave(self, name: str, channel: str) -> None:
        self._chatters.pop((name, channel)).close()

    def say(self, name: str, channel: str, text: str, **more: str) -> None:
        """Say it, and return once the server has it."""
        chatter = self._chatters[name, channel]
        chatter.say(text, **more)
        chatter.hear("ack")

    def log_in(self) -> Person:
        """The visitor, in a session of its own."""
        return Person(self._place, ME, agent=DESK).log_in()

    def close(self) -> None:
        for name, channel in list(self._chatters):
            self.leave(name, channel)


@contextmanager
def site_with_team(folder: Path) -> Iterator[Team]:
    """A site of its own, with its instance in `folder`."""
    with gunicorn(folder / "instance", CHAT_PING_INTERVAL="600") as (_, url):  # the team does not listen all the time
        team = Team(url)
        yield team
        team.close()


class Stage:
    """The visitor's page, which reaches the server through a cable."""

    def __init__(self, team: Team, visitor: Visitor, cable: Cable) -> None:
        self.team = team
        self.visitor = visitor
        self.cable = cable
        self.page: Page = visitor.page
        self.session: Person | None = None

    def open(self, path: str) -> None:
        self.page.goto(self.cable.url + path)

    def arrive(self) -> None:
        """Log in, and open the chat."""
        self.session = self.team.log_in()
        self.visitor.arrive(self.session.cookies)

    def enter(self, channel: str) -> None:
        """Arrive if need be, and open the channel."""
        if self.session is None:
            self.arrive()
        self.visitor.enter(channel)

    def talk(self, channel: str) -> None:
        """Enter, and let the others talk."""
        self.enter(channel)
        for name, text in TALKS[channel]:
            self.team.say(name, channel, text)
        self.visitor.hears(TALKS[channel][-1][1])


@contextmanager
def stage(browser: Browser, team: Team, *, width: int, height: int, scheme: str) -> Iterator[Stage]:
    """A new browser context, as somebody with that screen has it; `scheme` is "light" or "dark"."""
    with Cable(team.url) as cable:
        looks = {"color_scheme": scheme, "reduced_motion": "reduce", "locale": "en-GB"}
        visitor = Visitor(browser, cable, ME, width=width, height=height, **looks)
        try:
            yield Stage(team, visitor, cable)
        finally:
            visitor.page.context.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A state of the page."""

    name: str
    bring: Callable[[Stage], None]
    in_gallery: bool = True


def _log_in(stage: Stage) -> None:
    stage.open("/login")


def _log_in_refused(stage: Stage) -> None:
    stage.open("/login")
    _submit(stage, ME, "not my password", "Log in")


def _register(stage: Stage) -> None:
    stage.open("/register")


def _register_refused(stage: Stage) -> None:
    stage.open("/register")
    _submit(stage, ME, PASSWORD, "Register")


def _submit(stage: Stage, name: str, password: str, button: str) -> None:
    """Fill in a form that comes back with an error."""
    stage.page.get_by_label("User name").fill(name)
    stage.page.get_by_label("Password").fill(password)
    stage.page.get_by_role("button", name=button).click()
    expect(stage.page.get_by_role("alert").first).to_be_visible()


def _account(stage: Stage) -> None:
    stage.arrive()
    stage.open("/account")
    expect(stage.page.get_by_role("textbox", name="Display name")).to_have_value(PEOPLE[ME])


def _not_found(stage: Stage) -> None:
    stage.open("/nowhere")
    expect(stage.page.get_by_role("link", name="Go to the chat")).to_be_visible()


def _nowhere(stage: Stage) -> None:
    stage.arrive()
    expect(stage.page.locator("#channel-list li")).to_have_count(len(TALKS))


def _conversation(stage: Stage) -> None:
    for channel in ("support", "board", "release"):
        stage.enter(channel)
    stage.talk("release")
    stage.visitor.say("I can take the notes from here. Thank you all!")
    stage.visitor.hears("Thank you all!")
    stage.team.say("sade", "board", "They wait for your numbers, @mara.")
    expect(stage.page.locator("#open-list .mention-count:not(:empty)")).to_have_count(1)


def _history(stage: Stage) -> None:
    """Somebody comes back: some of it is new, some of it was changed."""
    stage.talk("travel")
    for text in ("A window seat, pleese.", "Or an aisle one.", "I bring the coffee."):
        stage.visitor.say(text)
        stage.visitor.hears(text)
    stage.visitor.edit("A window seat, pleese.", "A window seat, please.")
    stage.visitor.delete("Or an aisle one.")
    expect(stage.page.locator(".deleted")).to_be_visible()
    stage.enter("board")
    stage.team.say("ivo", "travel", "Booked: car 12, and @mara has the window.")
    stage.team.say("tomas", "travel", "Thank you!")
    expect(stage.page.locator("#open-list .unread")).to_contain_text("2 new")  # in sight or not
    stage.enter("travel")
    expect(stage.page.locator(".history:visible .rule.new")).to_be_visible()
    expect(stage.page.locator("#open-list .unread"), "it has been read").to_have_count(0)
    stage.page.mouse.move(0, 0)


def _changing(stage: Stage) -> None:
    stage.enter("board")
    stage.visitor.say("I am on page 3 already.")
    stage.visitor.hears("I am on page 3 already.")
    stage.visitor.field.press("ArrowUp")
    expect(stage.page.get_by_role("button", name="Cancel")).to_be_visible()


def _deleting(stage: Stage) -> None:
    _changing(stage)
    stage.page.get_by_role("button", name="Cancel").click()
    stage.visitor.message("I am on page 3 already.").last.focus()
    for key in ("Tab", "Tab", "Enter"):
        stage.page.keyboard.press(key)
    expect(stage.page.get_by_role("group", name="Delete this message?")).to_be_visible()


def _whispers(stage: Stage) -> None:
    stage.talk("design")
    stage.team.say("tomas", "design", WHISPERED, to=ME)
    stage.visitor.hears(WHISPERED)
    stage.visitor.say(f"/w tomas {ANSWERED}")
    stage.visitor.hears(ANSWERED)


def _failed(stage: Stage) -> None:
    stage.talk("support")
    stage.visitor.say("/w lena Do you still have the ticket from Northwind?")
    expect(stage.page.locator(".failed")).to_be_visible()


def _notice(stage: Stage) -> None:
    stage.talk("lunch")
    stage.team.enter("sade", "lunch")
    stage.team.leave("sade", "lunch")
    stage.visitor.hears("has left")


def _channels_drawer(stage: Stage) -> None:
    stage.talk("operations")
    stage.page.get_by_role("button", name="Channels").click()
    expect(stage.page.get_by_role("navigation", name="Channels")).to_be_visible()


def _people_drawer(stage: Stage) -> None:
    stage.talk("garden")
    stage.page.get_by_role("button", name="People").click()
    expect(stage.page.locator("#people-list")).to_be_visible()


def _reconnecting(stage: Stage) -> None:
    stage.talk("night shift")
    stage.page.evaluate("Math.random = () => 8")  # how long the page waits is chance, else, and may be over at once
    stage.cable.cut()
    expect(stage.page.locator("#retry")).to_be_visible()
    stage.visitor.say("Is everything all right over there?")
    expect(stage.page.locator(".pending")).to_be_visible()


def _logged_out(stage: Stage) -> None:
    stage.talk("reading club")
    assert stage.session is not None
    stage.session.log_out()
    expect(stage.page.get_by_text("You have been logged out").first).to_be_visible()


STATES: Final = (
    State(name="log-in", bring=_log_in),
    State(name="log-in-refused", bring=_log_in_refused, in_gallery=False),
    State(name="register", bring=_register),
    State(name="register-refused", bring=_register_refused),
    State(name="account", bring=_account),
    State(name="not-found", bring=_not_found),
    State(name="nowhere", bring=_nowhere),
    State(name="conversation", bring=_conversation),
    State(name="history", bring=_history),
    State(name="changing", bring=_changing),
    State(name="deleting", bring=_deleting, in_gallery=False),
    State(name="whispers", bring=_whispers),
    State(name="failed", bring=_failed),
    State(name="notice", bring=_notice),
    State(name="reconnecting", bring=_reconnecting),
    State(name="logged-out", bring=_logged_out),
)

# On a phone only.
DRAWERS: Final = (
    State(name="channels-drawer", bring=_channels_drawer),
    State(name="people-drawer", bring=_people_drawer),
)
