"""The access log's values: gunicorn's, without the secrets."""

from collections.abc import Mapping
from datetime import timedelta

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger, SafeAtoms
from gunicorn.workers.ggevent import GeventResponse

from web.websocket.access import Atoms, formats_itself

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


class Request:
    """A request that took 1.25 s."""

    def __init__(self) -> None:
        self.environ = ENVIRON
        self.response_headers = [("X-Back", "yes"), ("Set-Cookie", "SECRET")]
        self.response_length = 12
        self.status: str | bytes | None = "101 Switching Protocols"
        self.time_start = 1000.0
        self.time_finish = 1001.25


@pytest.mark.parametrize("name", NAMES)
def test_a_value_is_what_gunicorn_says(name: str) -> None:
    request = Request()
    response = GeventResponse(request.status, request.response_headers, request.response_length)
    logger = Logger(Config())
    until_it_is_one_second = (
        (SafeAtoms(logger.atoms(response, HEADERS, ENVIRON, timedelta(seconds=1.25)))[name], Atoms(request)[name])
        for _ in range(10)
    )

    assert any(theirs == ours for theirs, ours in until_it_is_one_second)


@pytest.mark.parametrize(
    "name", ["r", "q", "f", "{referer}i", "{authorization}i", "{cookie}i", "{http_cookie}e", "{set-cookie}o"]
)
def test_no_value_shows_a_secret(name: str) -> None:
    request = Request()
    request.environ = {
        **ENVIRON,
        "RAW_URI": "/chat/ws?token=SECRET",
        "QUERY_STRING": "token=SECRET",
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

    assert formats_itself(Logger(config)) is itself


def test_another_logger_gets_them_too() -> None:
    class Counting(Logger):  # type: ignore[misc]  # gunicorn has no types
        pass

    assert not formats_itself(Counting(Config()))
