"""Which heads of requests are read."""

from io import BufferedReader, BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.head import check_head
from web.websocket.head import BadRequest, Head, read_head
from web.websocket.limits import HttpLimits


def read(data: bytes, **limits: int) -> Head:
    return read_head(BufferedReader(BytesIO(data)), HttpLimits(**limits))


def status_of(data: bytes, **limits: int) -> int:
    with pytest.raises(BadRequest) as caught:
        read(data, **limits)
    return caught.value.status


def test_a_head_is_read_to_its_end_and_no_further():
    stream = BufferedReader(BytesIO(b"GET /a?b HTTP/1.1\r\nHost: h\r\nX:  y z \r\n\r\nrest"))

    head = read_head(stream, HttpLimits())

    assert head == Head(
        line="GET /a?b HTTP/1.1",
        method="GET",
        target="/a?b",
        version="HTTP/1.1",
        headers=[("Host", "h"), ("X", "y z")],
        variables={"HTTP_HOST": "h", "HTTP_X": "y z"},
    )
    assert stream.read() == b"rest"


def test_bare_line_feeds_end_lines_too():
    assert read(b"GET / HTTP/1.0\nHost: h\n\n") == read(b"GET / HTTP/1.0\r\nHost: h\r\n\r\n")


def test_a_head_may_come_byte_by_byte():
    data = b"GET / HTTP/1.1\r\nHost: h\r\nX: y\n\r\nrest"
    stream = BufferedReader(BytesIO(data), buffer_size=1)

    assert read_head(stream, HttpLimits()) == read(data)
    assert stream.read() == b"rest"


def test_a_line_that_is_none_is_refused_before_the_head_has_ended():
    assert status_of(b"hello\r\n") == 400


def test_headers_that_came_twice_are_joined():
    head = read(b"GET / HTTP/1.1\r\nX: 1\r\nCookie: a=b\r\nx: 2\r\nCookie: c=d\r\n\r\n")

    assert head.variables == {"HTTP_X": "1,2", "HTTP_COOKIE": "a=b; c=d"}
    assert [name for name, _ in head.headers] == ["X", "Cookie", "x", "Cookie"]


def test_a_header_that_could_pose_as_another_one_is_left_out():
    assert read(b"GET / HTTP/1.1\r\nContent_Length: 1\r\nX_Forwarded-For: a\r\n\r\n").variables == {}


def test_latin_1_is_kept_as_wsgi_wants_it():
    assert read("GET /\xe9 HTTP/1.1\r\nX: \xe9\r\n\r\n".encode("latin-1")).headers == [("X", "\xe9")]


@pytest.mark.parametrize(
    "line",
    [
        b"GET /",
        b"GET / HTTP/0.9",
        b"GET / HTTP/2.0",
        b"GET  / HTTP/1.1",
        b"GET /a b HTTP/1.1",
        b" GET / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"GET / HTTP/1.11",
        b"G\x00T / HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET /\r HTTP/1.1",
        b"",
    ],
)
def test_a_line_that_is_none_is_400(line):
    assert status_of(line + b"\r\n\r\n") == 400


@pytest.mark.parametrize(
    "header",
    [
        b"no colon",
        b" folded: x",
        b"\tfolded",
        b"Name : x",
        b": x",
        b"N\xe9: x",
        b"X: a\x00b",
        b"X: a\rb",
        b"X: a\x0bb",
        b"X: a\x7fb",
        b"Content-Length: 1\r\nContent-Length: 1",
        b"Content-Length: 1\r\ncontent-length: 2",
        b"Content-Length: +1",
        b"Content-Length: -1",
        b"Content-Length: 1_0",
        b"Content-Length: 1, 1",
        b"Content-Length: ",
        b"Content-Length: 1\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: identity",
        b"Host: a\r\nHost: b",
        b"Content-Type: a/b\r\nContent-Type: c/d",
    ],
)
def test_a_header_that_leaves_doubts_is_400(header):
    assert status_of(b"POST / HTTP/1.1\r\nX-Y: z\r\n" + header + b"\r\n\r\n") == 400


def test_one_length_is_enough():
    assert read(b"POST / HTTP/1.1\r\nContent-Length: 12\r\n\r\n").headers == [("Content-Length", "12")]
    assert read(b"POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n")


def test_a_request_line_of_just_the_limit_is_taken():
    line = b"GET /" + b"x" * 86 + b" HTTP/1.1"

    assert read(line + b"\r\n\r\n", request_line=100)
    assert status_of(line.replace(b"/", b"/x", 1) + b"\r\n\r\n", request_line=100) == 414
    assert status_of(b"x" * 1000, request_line=100) == 414


def test_headers_of_just_the_limit_are_taken():
    headers = b"X: " + b"x" * 93 + b"\r\n\r\n"

    assert read(b"GET / HTTP/1.1\r\n" + headers, header_bytes=100)
    assert status_of(b"GET / HTTP/1.1\r\n" + headers.replace(b"X", b"XX"), header_bytes=100) == 431
    assert status_of(b"GET / HTTP/1.1\r\nX: " + b"x" * 1000, header_bytes=100) == 431


def test_so_many_headers_are_taken_and_no_more():
    assert len(read(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100 + b"\r\n").headers) == 100
    assert status_of(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n") == 431


@pytest.mark.parametrize("data", [b"", b"GET / HT", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: h\r\n"])
def test_hanging_up_in_the_middle_is_no_bad_request(data):
    with pytest.raises(EOFError):
        read(data)


WORDS = st.sampled_from(
    ["GET", "/ws?token=T", "HTTP/1.1", "Host", "X-Y", "Content-Length", "chunked", ": ", ":", " ", "\r\n", "\n", "\xe9"]
)
LINES = st.sampled_from(["Host: h", "X: y", "Upgrade: websocket", "Content-Length: 1", "Cookie: a=b", "X: \xe9"])


@given(st.lists(LINES, max_size=14), st.sampled_from(["\r\n", "\n"]), st.lists(WORDS, max_size=5), st.integers(0, 255))
def test_wherever_a_head_is_cut_it_is_the_same(lines: list[str], end: str, rest: list[str], seed: int) -> None:
    head = end.join(["GET /ws?token=T HTTP/1.1", *lines, "", ""])

    check_head((head + "".join(rest)).encode("latin-1"), seed)


@given(st.lists(WORDS, max_size=20), st.integers(0, 255))
def test_wherever_nonsense_is_cut_it_is_refused_alike(words: list[str], seed: int) -> None:
    check_head("".join(words).encode("latin-1"), seed)
