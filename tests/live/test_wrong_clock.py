"""The clock is set back and forward while people chat, by libfaketime: only dates follow it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from tests.live.people import Person, Place
from tests.live.servers import Server, gunicorn, until

HOUR = 3600.0

SetClock = Callable[[float], None]


def _library() -> Path:
    """Debian has it in a folder for each architecture."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        pytest.fail("libfaketime is wanted for this test: apt-get install libfaketime", pytrace=False)
    return found[0]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Place, SetClock]]:
    folder = tmp_path_factory.mktemp("clock")
    offset = folder / "offset"

    def write(seconds: float) -> None:
        """To so many seconds after the real time; whole, so that nobody sees half of it."""
        draft = folder / "draft"
        draft.write_text(f"{seconds:+.0f}\n")
        draft.rename(offset)

    write(0)
    faking = {
        "LD_PRELOAD": str(_library()),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_CACHE_DURATION": "1",  # seconds after which it looks into the file again
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",  # what versions before 0.9.10 call it
    }
    config = ("-c", "tests/live/faketime.conf.py")
    settings = {"CHAT_MESSAGE_RATE": "5", "CHAT_PING_INTERVAL": "1"}
    with gunicorn(folder / "instance", *config, **settings, **faking) as (server, where):
        place = Place(where)

        def set_clock(seconds: float) -> None:
            write(seconds)
            until(lambda: abs(_ahead(place) - seconds) < 10, "the clock to be set")

        yield server, place, set_clock


def _ahead(place: Place) -> float:
    """By how many seconds the server's clock is fast."""
    date = place.request("GET", "/healthz").headers["Date"]
    return (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()


def _connections(place: Place) -> int:
    count: int = place.request("GET", "/readyz").json["connections"]
    return count


@pytest.mark.parametrize("ahead", [HOUR, -HOUR], ids=["forward", "back"])
def test_only_dates_follow_a_clock_that_is_set(started: tuple[Server, Place, SetClock], ahead: float) -> None:
    server, place, set_clock = started
    set_clock(0)
    name = f"ann{ahead:.0f}".replace("-", "x")
    ann, bob = Person(place, name).register(), Person(place, f"bob{name}").register()
    ann.create(name)
    others = _connections(place)
    anns, bobs = ann.enter(name), bob.enter(name)
    anns.say("before")
    before = bobs.hear("message")
    token = ann.token(name)

    set_clock(ahead)

    anns.say("after")
    after = bobs.hear("message")
    assert after["offset"] == before["offset"] + 1
    shown = (datetime.fromisoformat(after["date"]) - datetime.now(UTC)).total_seconds()
    assert abs(shown - ahead) < 10
    headers = {"Authorization": f"Bearer {token}"}
    place.websocket("/chat/ws", additional_headers=headers).close()  # an hour has not passed for it
    assert ann.request("GET", "/chat/channels").status == 200  # still logged in
    assert Person(place, name).log_in().request("GET", "/chat/channels").status == 200
    assert ann.submit("/account", do="display_name", display_name="Ann").status == 303
    for _ in range(30):
        bobs.say("fast")
    assert bobs.hear("error")["code"] == "rate_limited"
    bobs.hear("ping")
    bobs.send(type="pong", channel=name)
    until(lambda: _connections(place) == others + 2, "both to be there, and nobody else")
    set_clock(0)
    anns.say("again")
    assert anns.hear("error", "ack")["type"] == "ack"
    assert "Traceback" not in server.log
