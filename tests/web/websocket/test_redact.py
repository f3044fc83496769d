"""What the logs may see."""

import pytest

from web.websocket.redact import REDACTED, redact, redacted_environ, redacted_headers, redacted_response


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("token=abc", "token=[redacted]"),
        ("GET /ws?token=abc HTTP/1.1", "GET /ws?token=[redacted] HTTP/1.1"),
        ("/ws?a=1&token=abc&b=2", "/ws?a=1&token=[redacted]&b=2"),
        ("/ws?token=abc&token=def", "/ws?token=[redacted]&token=[redacted]"),
        ("/ws?%74oke%6E=abc", "/ws?%74oke%6E=[redacted]"),
        ("/ws?TOKEN=abc", "/ws?TOKEN=[redacted]"),
        ("/ws?token=a?b;c=d/e", "/ws?token=[redacted]"),
        ("https://h/?next=/ws?token=abc", "https://h/?next=/ws?token=[redacted]"),
        ("/login?next=%2Fws%3Ftoken%3Dabc", "/login?next=%2Fws%3Ftoken%3D[redacted]"),
        ("https://h/p#token=abc", "https://h/p#token=[redacted]"),
        ("/p%23token=abc", "/p%23token=[redacted]"),
        ("/ws%3Ftoken=abc", "/ws%3Ftoken=[redacted]"),
        ("/ws%253ftoken%253dabc", "/ws%253ftoken%253d[redacted]"),
        ("/l?next=%2Fl%3Fnext%3D%252Fws%253Ftoken%253Dabc", "/l?next=%2Fl%3Fnext%3D%252Fws%253Ftoken%253D[redacted]"),
        ("/l?next=%252Fws%253Fa%253D1%2526%2574oken%253Dabc", "/l?next=%252Fws%253Fa%253D1%2526%2574oken%253D[redacted]"),
        ("/ws%2525253FTOKEN%2525253Dabc&b=2", "/ws%2525253FTOKEN%2525253D[redacted]&b=2"),
    ],
)
def test_a_token_is_blanked_wherever_it_stands(before, after):
    assert redact(before) == after


@pytest.mark.parametrize(
    "text", ["", "-", "/ws?tokens=1&my_token=2&t=token", "/token/abc", "GET /a?b=c HTTP/1.1", "/100%25token"]
)
def test_everything_else_stays(text):
    assert redact(text) == text


def test_no_field_of_the_environ_shows_a_secret():
    environ = {
        "QUERY_STRING": "token=SECRET",
        "RAW_URI": "/ws?token=SECRET",
        "REQUEST_URI": "/ws?token=SECRET",
        "HTTP_REFERER": "http://h/?token=SECRET",
        "HTTP_X_ORIGINAL_URI": "/ws?token=SECRET",
        "HTTP_X_ORIGINAL_URL": "http://h/ws?token=SECRET",
        "HTTP_X_FORWARDED_URI": "/ws?token=SECRET",
        "SCRIPT_NAME": "/ws?token=SECRET",
        "HTTP_AUTHORIZATION": "Bearer SECRET",
        "HTTP_PROXY_AUTHORIZATION": "Basic SECRET",
        "HTTP_COOKIE": "session=SECRET",
        "HTTP_SEC_WEBSOCKET_PROTOCOL": "chat.v1, chat.token.SECRET",
        "PATH_INFO": "/ws?token=SECRET",
        "wsgi.version": (1, 0),
    }

    copy = redacted_environ(environ)

    assert "SECRET" not in repr(copy)
    assert copy.keys() == environ.keys()
    assert copy["PATH_INFO"] == "/ws?token=[redacted]"
    assert environ["QUERY_STRING"] == "token=SECRET"


def test_no_header_shows_a_secret():
    headers = [("Authorization", "SECRET"), ("cookie", "SECRET"), ("Referer", "/?token=SECRET"), ("Host", "h")]

    copy = redacted_headers(headers)

    assert "SECRET" not in repr(copy)
    assert copy[-1] == ("Host", "h")


@pytest.mark.parametrize("encode", [str, str.encode])
def test_no_header_of_an_answer_shows_a_secret(encode):
    headers = [("Set-Cookie", "session=SECRET"), ("Location", "/chat/?token=SECRET"), ("Allow", "GET")]

    copy = redacted_response([(encode(name), encode(value)) for name, value in headers])

    assert copy == [("Location", f"/chat/?token={REDACTED}"), ("Allow", "GET")]
