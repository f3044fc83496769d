"""The access log's values: gunicorn's, without the secrets."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger, SafeAtoms
from gunicorn.workers.ggevent import GeventResponse

from web.websocket.access import Atoms, formats_itself, write_line

ENVIRON: Mapping[str, object] = {
    "REMOTE_ADDR": "192.0.2.7",
    "REQUEST_METHOD": "GET",
    "RAW_URI": '/chat/ws?a=%20b"c',
    "PATH_INFO": "/chat/ws",
    "QUERY_STRING": "a=%20b",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_REFERER": 'http://h/"quoted"',
    "HTTP_USER_AGENT": "curl",
    "HTTP_X_MANY": "words",
    "CONTENT_TYPE": "text/plain",
    "wsgi.url_scheme": "http",
}
HEADERS = [("X-Many", "words"), ("Content-Type", "text/plain")]
NAMES = [*"hlutrsmUqHbBfaTDMLpz", "{x-many}i", "{X-Many}i", "{content-type}i", "{none}i", "{x-back}o", "{none}o"]
NAMES += ["{path_info}e", "{WSGI.url_scheme}e", "{none}e"]
TELLING = [*"rqUf", "{referer}i", "{x-original-uri}i", "{http_x_original_uri}e", "{set-cookie}o", "{location}o"]
TELLING += ["{authorization}i", "{cookie}i", "{http_cookie}e"]


class Request:
    """A request that took 1.25 s."""

    def __init__(self) -> None:
        self.environ = ENVIRON
        self.response_headers = [("X-Back", "yes"), ("Set-Cookie", "SECRET")]
        self.response_length = 12
        self.status: str | bytes | None = "101 Switching Protocols"
        self.time_start = 1000.0
        self.time_finish = 1001.25


@contextmanager
def unwatched(logger: Logger) -> Iterator[None]:
    """With the handlers that gunicorn gave it, and not pytest's."""
    kept = list(logger.access_log.handlers)
    logger.access_log.handlers[:] = []
    yield
    logger.access_log.handlers[:] = kept


@pytest.mark.parametrize("name", NAMES)
def test_a_value_is_what_gunicorn_says(name: str) -> None:
    request = Request()
    response = GeventResponse(request.status, request.response_headers, request.response_length)
    logger = Logger(Config())
    in_the_same_second = (
        (SafeAtoms(logger.atoms(response, HEADERS, ENVIRON, timedelta(seconds=1.25)))[name], Atoms(request)[name])
        for _ in range(10)
    )

    assert any(theirs == ours for theirs, ours in in_the_same_second)


@pytest.mark.parametrize("name", TELLING)
def test_no_value_shows_a_secret(name: str) -> None:
    request = Request()
    request.response_headers.append(("Location", "/chat/?token=SECRET"))
    request.environ = {
        **ENVIRON,
        "RAW_URI": "/chat/ws?token=SECRET",
        "QUERY_STRING": "token=SECRET",
        "PATH_INFO": "/chat/ws?token=SECRET",
        "HTTP_X_ORIGINAL_URI": "/chat/ws?token=SECRET",
        "HTTP_REFERER": "http://h/?token=SECRET",
        "HTTP_AUTHORIZATION": "Bearer SECRET",
        "HTTP_COOKIE": "session=SECRET",
    }

    assert "SECRET" not in str(Atoms(request)[name])


def test_a_request_that_has_no_status_has_a_line_too() -> None:
    request = Request()
    request.status = None

    assert Atoms(request)["s"] == "-"


@pytest.mark.parametrize(("settings", "itself"), [({}, True), ({"logconfig_dict": {"version": 1}}, False)])
def test_whoever_configures_logging_gets_all_of_gunicorns_values(settings: dict[str, object], itself: bool) -> None:
    config = Config()
    for name, value in settings.items():
        config.set(name, value)

    logger = Logger(config)
    with unwatched(logger):
        assert formats_itself(logger) is itself


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
def test_a_line_is_written_where_the_level_allows_it(level: int) -> None:
    logger = Logger(Config())
    lines = StringIO()
    with unwatched(logger):
        logger.access_log.addHandler(logging.StreamHandler(lines))
        logger.access_log.setLevel(level)
        try:
            write_line(logger, Atoms(Request()))
        finally:
            logger.access_log.setLevel(logging.INFO)

    written = lines.getvalue().splitlines()
    assert len(written) == (level == logging.INFO)
    assert all(line.startswith("192.0.2.7 - - [") for line in written)


def test_whoever_has_put_a_filter_or_a_handler_in_gets_all_of_gunicorns_values() -> None:
    logger = Logger(Config())
    with unwatched(logger):
        logger.access_log.addFilter(keep := logging.Filter())
        assert not formats_itself(logger)
        logger.access_log.removeFilter(keep)
        logger.access_log.addHandler(logging.NullHandler())
        assert not formats_itself(logger)


def test_another_logger_gets_them_too() -> None:
    class Counting(Logger):  # type: ignore[misc]  # gunicorn has no types
        pass

    assert not formats_itself(Counting(Config()))
