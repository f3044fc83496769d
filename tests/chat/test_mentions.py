import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from chat.errors import InvalidUser
from chat.mentions import folded, mentioned
from chat.names import check_username


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        ("nobody at all", []),
        ("@ann", ["ann"]),
        ("hello @ann and @bob", ["ann", "bob"]),
        ("@Ann @ANN @ann", ["ann"]),
        ("@ann, @bob! (@cy) @dee...", ["ann", "bob", "cy", "dee"]),
        ("@ann\n@bob\t@cy", ["ann", "bob", "cy"]),
        ("@ann.lee", ["ann.lee"]),
        ("@o'brien's", ["o'brien's"]),
        ('@"Ann Lee" and @"bob."', ["ann lee", "bob."]),
        ('@"Ann Lee', ['"ann']),
        ("ann@example.org", []),
        ("@ @! @\u00a0ann", []),
        ("@漢字。", ["漢字"]),
        ("@ſtraße @ＡＮＮ", ["strasse", "ann"]),
        ("@🦊", ["🦊"]),
        ("@" + "x" * 1000, []),
    ],
)
def test_who_is_mentioned(text, names):
    assert mentioned(text) == frozenset(names)


def test_the_first_20_are_mentioned():
    text = " ".join(f"@user{number}" for number in range(30))

    assert mentioned(text) == {f"user{number}" for number in range(20)}


@given(st.text(st.characters(exclude_characters='"'), min_size=1, max_size=64))
def test_every_name_can_be_mentioned_in_quotes(name):
    try:
        name = check_username(name)
    except InvalidUser:
        reject()
    assert folded(name) in mentioned(f'well, @"{name}".')
