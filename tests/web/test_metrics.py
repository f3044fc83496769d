"""What `/metrics` shows of one process, and who has it."""

from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from flask import Flask
from gevent.event import Event
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from chat.testing import TurnedClock, wait_until
from tests.web.conftest import Dial, Serve
from tests.web.fakes import HANDSHAKE
from tests.web.site import close_site, make_site
from web import Chat
from web.metrics import INTERVAL, LOOKS_PER_QUESTION, Metrics
from web.routes.metrics import make_metrics


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Flask]:
    app = make_site(tmp_path)
    yield app
    close_site(app)


class SlowDatabase:
    """One that answers when the test says so."""

    def __init__(self) -> None:
        self.answers = Event()
        self.asked = 0

    def can_read(self, table: object) -> bool:
        self.asked += 1
        return self.answers.wait()


@pytest.fixture
def watched(app: Flask, clock: TurnedClock) -> Chat:
    """The chat of `app`, with `/metrics`."""
    chat: Chat = app.extensions["chat"]
    watch(app, Metrics(chat, lambda: chat.database, clock))
    return chat


def watch(app: Flask, metrics: Metrics) -> None:
    app.register_blueprint(make_metrics(metrics))
    app.extensions["chat"].companions.append(metrics)


def shown(app: Flask) -> dict[str, float]:
    answer = app.test_client().get("/metrics")
    assert answer.status_code == 200, answer.text
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    assert not any(sample.labels for sample in samples)
    return {sample.name: sample.value for sample in samples}


def test_the_standalone_site_shows_its_process_in_prometheus_text_format(site: Flask) -> None:
    assert site.test_client().get("/metrics").mimetype == "text/plain"

    values = shown(site)

    assert values.pop("chat_seen_timestamp_seconds") > 0
    assert values == {
        "chat_ready": 1,
        "chat_database_up": 1,
        "chat_connections": 0,
        "chat_sockets": 0,
        "chat_channels_open": 0,
    }


def test_an_application_with_chat_in_it_keeps_that_address_for_itself(app: Flask) -> None:
    assert app.test_client().get("/metrics").status_code == 404
    assert app.test_client().get("/chat/metrics").status_code == 404


def test_connections_and_loaded_channels_are_counted(app: Flask, watched: Chat, serve: Serve, dial: Dial) -> None:
    for name in ("attic", "lobby"):
        watched.server.create_channel(name)
    caller = dial(serve(app))
    caller.request(f"/chat/ws?token={watched.server.request_token('ann', 'lobby')}", HANDSHAKE)
    assert caller.answer().status == 101
    assert caller.line() == "ann entered lobby!"

    values = shown(app)

    assert (values["chat_connections"], values["chat_sockets"], values["chat_channels_open"]) == (1, 1, 2)


def test_a_process_that_is_about_to_end_is_not_ready(app: Flask, watched: Chat) -> None:
    assert shown(app)["chat_ready"] == 1

    watched.retire()

    assert shown(app)["chat_ready"] == 0


def test_a_process_that_has_seen_everybody_off_shows_nothing(site: Flask) -> None:
    shown(site)

    site.extensions["chat"].drain()

    assert site.test_client().get("/metrics").status_code == 503


def test_it_looks_once_a_second(app: Flask, watched: Chat, clock: TurnedClock) -> None:
    began = shown(app)["chat_seen_timestamp_seconds"]

    clock.advance(2.5)

    assert shown(app)["chat_seen_timestamp_seconds"] == began + 2.5


@pytest.fixture
def slow(app: Flask, clock: TurnedClock) -> SlowDatabase:
    """What `/metrics` of `app` asks."""
    database = SlowDatabase()
    watch(app, Metrics(app.extensions["chat"], lambda: database, clock))  # type: ignore[arg-type, return-value]
    shown(app)
    return database


def look(clock: TurnedClock, times: int) -> None:
    for _ in range(times):
        clock.advance(INTERVAL)
        gevent.idle()


def test_a_database_that_answers_is_asked_at_each_fifth_look_however_many_scrape(
    app: Flask, clock: TurnedClock, slow: SlowDatabase
) -> None:
    slow.answers.set()
    for _ in range(20):
        look(clock, 1)
        shown(app)

    assert slow.asked == 4


def test_a_database_that_is_away_is_seen_without_a_word_in_the_log_and_at_the_next_look_that_it_is_back(
    app: Flask, watched: Chat, clock: TurnedClock, caplog: pytest.LogCaptureFixture
) -> None:
    shown(app)
    watched.database.run(lambda session: session.execute(text("ALTER TABLE chat_channels RENAME TO gone")) and None)

    look(clock, LOOKS_PER_QUESTION)

    wait_until(lambda: (shown(app)["chat_database_up"], shown(app)["chat_ready"]) == (0, 0))
    watched.database.run(lambda session: session.execute(text("ALTER TABLE gone RENAME TO chat_channels")) and None)
    look(clock, 1)
    wait_until(lambda: (shown(app)["chat_database_up"], shown(app)["chat_ready"]) == (1, 1))
    assert caplog.messages == []


def test_a_database_that_does_not_answer_within_a_second_is_away(
    app: Flask, clock: TurnedClock, slow: SlowDatabase
) -> None:
    look(clock, LOOKS_PER_QUESTION)
    assert slow.asked == 1
    assert shown(app)["chat_database_up"] == 1

    look(clock, 1)

    assert (shown(app)["chat_database_up"], shown(app)["chat_ready"]) == (0, 0)
    slow.answers.set()
    gevent.idle()
    assert (shown(app)["chat_database_up"], shown(app)["chat_ready"]) == (1, 1)
