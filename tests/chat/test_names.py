import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import BadText, InvalidChannel, InvalidUser, MessageTooBig
from chat.names import FORBIDDEN, check_channel_name, check_display_name, check_text, check_username

ALL = pytest.mark.parametrize(
    ("check", "error"),
    [(check_username, InvalidUser), (check_display_name, InvalidUser), (check_channel_name, InvalidChannel)],
    ids=["user", "display", "channel"],
)


@ALL
@pytest.mark.parametrize("name", ["a", "Ada Lovelace", "漢字", "🦊", "o'brien", "a.b@c", "<b>", "é" * 64, "x" * 64])
def test_a_name_comes_back_unchanged(check, error, name):
    assert check(name) == name


@ALL
def test_a_name_comes_back_in_nfc(check, error):
    assert check("e\u0301") == "\u00e9"


@ALL
def test_the_length_is_counted_after_nfc(check, error):
    assert check("e\u0301" * 64) == "\u00e9" * 64
    with pytest.raises(error):
        check("\u0958" * 33)  # NFC takes this letter apart, so that 33 become 66


@ALL
@pytest.mark.parametrize("name", ["", "x" * 65, "🦊" * 65, "e\u0301" * 65])
def test_a_name_has_1_to_64_characters(check, error, name):
    with pytest.raises(error):
        check(name)


@ALL
def test_what_is_far_too_long_is_refused_before_it_costs_anything(check, error):
    # To put these in order takes Python a second and a half.
    with pytest.raises(error, match="of 40000 characters"):
        check("\u0301" * 20_000 + "\u0316" * 20_000)


@ALL
@pytest.mark.parametrize("space", [" ", "\t", "\u00a0", "\u2003", "\u3000", "\u1680"])
def test_white_space_is_allowed_only_inside(check, error, space):
    for name in (f"{space}ada", f"ada{space}", space):
        with pytest.raises(error):
            check(name)


@ALL
def test_a_space_inside_is_allowed(check, error):
    assert check("a b\u00a0c") == "a b\u00a0c"


@ALL
@pytest.mark.parametrize(
    "char",
    [
        pytest.param("\n", id="Cc line feed"),
        pytest.param("\r", id="Cc carriage return"),
        pytest.param("\0", id="Cc nul"),
        pytest.param("\x85", id="Cc next line"),
        pytest.param("\x1b", id="Cc escape"),
        pytest.param("\u200b", id="Cf zero width space"),
        pytest.param("\u202e", id="Cf right-to-left override"),
        pytest.param("\u2066", id="Cf isolate"),
        pytest.param("\u200d", id="Cf joiner"),
        pytest.param("\ufeff", id="Cf byte order mark"),
        pytest.param("\U000e0041", id="Cf tag"),
        pytest.param("\ud800", id="Cs lone surrogate"),
        pytest.param("\ue000", id="Co private use"),
        pytest.param("\U0010fffd", id="Co private plane"),
        pytest.param("\u0378", id="Cn unassigned"),
        pytest.param("\uffff", id="Cn no character"),
        pytest.param("\u2028", id="Zl line separator"),
        pytest.param("\u2029", id="Zp paragraph separator"),
    ],
)
def test_what_hides_or_breaks_a_line_is_forbidden_wherever_it_stands(check, error, char):
    assert unicodedata.category(char) in FORBIDDEN
    for name in (char, f"a{char}b", f"{char}b", f"a{char}"):
        with pytest.raises(error):
            check(name)


def test_every_forbidden_category_is_refused():
    refused = set()
    for code in range(0x110000):
        category = unicodedata.category(chr(code))
        if category in FORBIDDEN - refused:
            with pytest.raises(InvalidUser):
                check_username(f"a{chr(code)}b")
            refused.add(category)

    assert refused == {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def test_only_a_channel_must_not_have_a_slash():
    assert check_username("a/b") == check_display_name("a/b") == "a/b"
    with pytest.raises(InvalidChannel):
        check_channel_name("a/b")


@ALL
@pytest.mark.parametrize("name", [None, 5, b"ada", ["ada"], object()])
def test_what_is_no_string_is_no_name(check, error, name):
    with pytest.raises(error) as caught:
        check(name)

    assert type(name).__name__ in str(caught.value)


@pytest.mark.parametrize(
    ("name", "why"),
    [("", "empty"), ("x" * 65, "65 characters"), (" x", "white space"), ("a\u202eb", "U+202E")],
)
def test_a_refusal_says_why(name, why):
    with pytest.raises(InvalidUser) as caught:
        check_username(name)
    assert why in str(caught.value)
    assert caught.value.username == name

    with pytest.raises(InvalidChannel) as caught:
        check_channel_name(name)
    assert why in str(caught.value)
    assert caught.value.channel == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "the user has an empty display name"),
        (7, "the user has no display name: a string is wanted, not int"),
        ("x" * 65, "has a display name of 65 characters, at most 64 are allowed"),
        (" x", "user ' x' has white space at the start or end of its display name"),
        ("a\u202eb", "has the character U+202E in its display name, which is not allowed"),
    ],
)
def test_a_refusal_of_a_display_name_does_not_take_it_for_the_username(name, why):
    with pytest.raises(InvalidUser) as caught:
        check_display_name(name)

    assert why in str(caught.value)


def test_a_refusal_of_a_slash_says_so():
    with pytest.raises(InvalidChannel, match="/ in its name"):
        check_channel_name("a/b")


@pytest.mark.parametrize("text", ["", " ", "hello", "two\nlines", "🦊", "\x01", "a" * 4096, "é" * 2048, "🦊" * 1024])
def test_a_text_comes_back_unchanged(text):
    assert check_text(text, 4096) is text


@pytest.mark.parametrize(("text", "size"), [("a" * 4097, 4097), ("é" * 2048 + "a", 4097), ("🦊" * 1025, 4100)])
def test_a_text_is_measured_in_bytes(text, size):
    with pytest.raises(MessageTooBig) as caught:
        check_text(text, 4096)

    assert (caught.value.size, caught.value.limit) == (size, 4096)


@pytest.mark.parametrize("filler", ["", "x" * 2000, "é" * 1500], ids=["short", "long", "long and not ASCII"])
@pytest.mark.parametrize("char", ["\0", chr(0xD800), chr(0xDFFF)], ids=["nul", "high", "low"])
def test_nul_and_lone_surrogates_are_bad_text_however_long_it_is(char, filler):
    for text in (char + filler, filler + char):
        with pytest.raises(BadText):
            check_text(text, 4096)


def test_a_text_that_is_bad_and_too_long_is_bad():
    with pytest.raises(BadText):
        check_text("\ud800" * 5000, 4096)


@pytest.mark.parametrize("text", [None, b"hello", 5, ["hello"]])
def test_what_is_no_string_is_bad_text(text):
    with pytest.raises(BadText):
        check_text(text, 4096)


def test_a_limit_of_one_byte_holds():
    assert check_text("a", 1) == "a"
    for text in ("ab", "é"):
        with pytest.raises(MessageTooBig):
            check_text(text, 1)


@given(st.text(max_size=80))
def test_a_name_that_is_allowed_is_allowed_again_as_it_is(raw: str) -> None:
    try:
        name = check_username(raw)
    except InvalidUser:
        return

    assert check_username(name) == name
    assert name == unicodedata.normalize("NFC", raw)
    assert 0 < len(name) <= 64
    assert not {unicodedata.category(char) for char in name} & FORBIDDEN
