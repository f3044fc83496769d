"""What every `Tokens` must do.  A new backend adds a parameter to `tokens`, to `NEVER_YIELDS` if it is atomic, and to
`SWEPT` if its tokens have to be swept.
"""

import re

import gevent
import pytest

from chat.errors import ExpiredToken, InvalidToken, TooManyTokens
from chat.tokens import Grant, MemoryTokens, Tokens
from chat.tokens.redis import RedisTokens
from tests.chat.steps import never_yields

NEVER_YIELDS = ["memory"]
SWEPT = ["memory"]
SERVERS = {"valkey": "valkey", "redis": "redis_server"}
PER_USER = 100


@pytest.fixture(params=["memory", *SERVERS])
def backend(request) -> str:
    return request.param


@pytest.fixture
def tokens(backend, clock, request, open_bus) -> Tokens:
    if backend == "memory":
        return MemoryTokens(deadline=30.0, per_user=PER_USER, clock=clock)
    bus = open_bus(request.getfixturevalue(SERVERS[backend]).unix_url)
    return RedisTokens(bus, deadline=30.0, per_user=PER_USER, clock=clock)


def test_a_token_is_64_lower_case_hexadecimal_digits(tokens):
    assert re.fullmatch("[0-9a-f]{64}", tokens.issue("ada", "lobby"))


def test_no_two_tokens_are_alike(tokens):
    assert len({tokens.issue("ada", "lobby") for _ in range(100)}) == 100


def test_a_token_gives_back_what_it_was_issued_for(tokens):
    token = tokens.issue("ada", "lobby", session="s1", data={"color": "red", "ranks": [1, 2]})

    assert tokens.redeem(token) == Grant("ada", "lobby", "s1", {"color": "red", "ranks": [1, 2]})


def test_session_and_data_may_be_left_out(tokens):
    assert tokens.redeem(tokens.issue("ada", "lobby")) == Grant("ada", "lobby", None, None)


def test_names_of_any_script_come_back_as_they_were(tokens):
    assert tokens.redeem(tokens.issue("Ådä 漢字 🦊", "кафе : *")) == Grant("Ådä 漢字 🦊", "кафе : *")


def test_a_token_is_good_once(tokens):
    token = tokens.issue("ada", "lobby")
    tokens.redeem(token)

    with pytest.raises(InvalidToken):
        tokens.redeem(token)


def test_two_tokens_of_one_user_are_spent_apart(tokens):
    first, second = tokens.issue("ada", "lobby"), tokens.issue("ada", "lobby")
    tokens.redeem(first)

    assert tokens.redeem(second).username == "ada"


@pytest.mark.parametrize("token", ["", "0" * 64, "nonsense", "0" * 100_000, "\0", "é" * 64])
def test_what_was_never_issued_is_refused(tokens, token):
    with pytest.raises(InvalidToken):
        tokens.redeem(token)


def test_a_token_in_capitals_is_another_token(tokens):
    token = "a"
    while not any(digit in token for digit in "abcdef"):
        token = tokens.issue("ada", "lobby")

    with pytest.raises(InvalidToken):
        tokens.redeem(token.upper())


def test_a_token_is_good_up_to_its_deadline(tokens, clock):
    token = tokens.issue("ada", "lobby")
    clock.advance(30.0)

    assert tokens.redeem(token).username == "ada"


def test_a_late_token_is_refused_before_any_sweep(tokens, clock):
    token = tokens.issue("ada", "lobby")
    clock.advance(30.5)

    with pytest.raises(ExpiredToken) as caught:
        tokens.redeem(token)

    assert caught.value.late_by == pytest.approx(0.5)
    assert "0.5 s" in str(caught.value)


def test_a_late_token_is_spent_by_the_attempt(tokens, clock):
    token = tokens.issue("ada", "lobby")
    clock.advance(31.0)
    with pytest.raises(ExpiredToken):
        tokens.redeem(token)

    with pytest.raises(InvalidToken) as caught:
        tokens.redeem(token)

    assert not isinstance(caught.value, ExpiredToken)


def test_a_sweep_forgets_late_tokens_alone(tokens, clock):
    late = [tokens.issue("ada", "lobby") for _ in range(3)]
    clock.advance(20.0)
    fresh = tokens.issue("bob", "lobby")
    clock.advance(11.0)

    tokens.sweep()

    assert tokens.redeem(fresh).username == "bob"
    for token in late:
        with pytest.raises(InvalidToken):
            tokens.redeem(token)


@pytest.mark.parametrize("backend", SWEPT, indirect=True)
def test_a_sweep_says_how_many_it_forgot(tokens, clock):
    for username in ("ada", "ada", "bob"):
        tokens.issue(username, "lobby")
    clock.advance(31.0)

    assert [tokens.sweep(), tokens.sweep()] == [3, 0]


def test_a_sweep_at_the_deadline_spares_what_could_still_be_redeemed(tokens, clock):
    token = tokens.issue("ada", "lobby")
    clock.advance(30.0)

    assert tokens.sweep() == 0
    assert tokens.redeem(token).username == "ada"


def test_a_sweep_does_not_count_what_was_spent(tokens, clock):
    tokens.redeem(tokens.issue("ada", "lobby"))
    clock.advance(31.0)

    assert tokens.sweep() == 0


def test_of_several_who_redeem_at_once_one_succeeds(tokens):
    token = tokens.issue("ada", "lobby")

    def redeem() -> bool:
        try:
            tokens.redeem(token)
        except InvalidToken:
            return False
        return True

    attempts = [gevent.spawn(redeem) for _ in range(10)]
    gevent.joinall(attempts, timeout=5)

    assert [attempt.value for attempt in attempts].count(True) == 1


def test_no_refusal_repeats_the_token(tokens, clock):
    token = tokens.issue("ada", "lobby")
    clock.advance(31.0)
    said = []
    for _ in range(2):  # too late, then unknown
        with pytest.raises(InvalidToken) as caught:
            tokens.redeem(token)
        said.append(f"{caught.value} {caught.value!r} {vars(caught.value)}")

    assert not any(token in words for words in said)


@pytest.mark.parametrize("backend", NEVER_YIELDS, indirect=True)
def test_it_never_yields_where_it_says_so(tokens):
    with never_yields():
        tokens.redeem(tokens.issue("ada", "lobby"))
        tokens.sweep()


# How many one user may have


def test_a_user_may_have_just_so_many_tokens_that_were_not_spent(tokens, clock):
    for _ in range(PER_USER):
        tokens.issue("ada", "lobby")
        clock.advance(0.1)

    for _ in range(3):
        with pytest.raises(TooManyTokens) as caught:
            tokens.issue("ada", "attic")

    assert caught.value.retry_after == pytest.approx(30.0 - PER_USER * 0.1)
    assert tokens.redeem(tokens.issue("bob", "lobby")).username == "bob"


def test_one_that_is_spent_makes_room_for_one(tokens):
    held = [tokens.issue("ada", "lobby") for _ in range(PER_USER)]
    tokens.redeem(held[50])

    held[50] = tokens.issue("ada", "lobby")

    with pytest.raises(TooManyTokens):
        tokens.issue("ada", "lobby")
    assert {tokens.redeem(token).username for token in held} == {"ada"}


def test_one_that_is_too_old_makes_room_without_a_sweep(tokens, clock):
    tokens.issue("ada", "lobby")
    clock.advance(1.0)
    for _ in range(PER_USER - 1):
        tokens.issue("ada", "lobby")
    clock.advance(29.0)
    with pytest.raises(TooManyTokens) as caught:
        tokens.issue("ada", "lobby")
    assert caught.value.retry_after == 0.0

    clock.advance(0.1)

    tokens.issue("ada", "lobby")
    with pytest.raises(TooManyTokens):
        tokens.issue("ada", "lobby")


def test_those_that_are_swept_make_room(tokens, clock):
    for _ in range(PER_USER):
        tokens.issue("ada", "lobby")
    clock.advance(30.1)
    tokens.sweep()

    for _ in range(PER_USER):
        tokens.issue("ada", "lobby")
    with pytest.raises(TooManyTokens):
        tokens.issue("ada", "lobby")
