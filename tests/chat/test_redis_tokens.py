"""What `RedisTokens` does beyond the contract: for several processes, and with what is written where others may read."""

import pytest

from chat.errors import BrokerUnavailable, InvalidToken, TooManyTokens
from chat.tokens.redis import RedisTokens
from tests.chat.steps import wait_until


@pytest.fixture
def bus(valkey, open_bus):
    return open_bus(valkey.unix_url)


@pytest.fixture
def tokens(bus, clock):
    return RedisTokens(bus, per_user=3, clock=clock)


@pytest.fixture
def elsewhere(valkey, open_bus, clock):
    return RedisTokens(open_bus(valkey.unix_url), per_user=3, clock=clock)


def kept(valkey) -> list[str]:
    """All keys, and what is in them."""
    keys = valkey.ask("KEYS", "*")
    read = {"string": ("GET",), "zset": ("ZRANGE", 0, -1)}
    found = []
    for key in keys:
        word, *rest = read[valkey.ask("TYPE", key)]
        found += [key, str(valkey.ask(word, key, *rest))]
    return found


def test_a_token_is_redeemed_in_another_process_once(tokens, elsewhere):
    token = tokens.issue("ada", "lobby", data={"name": "Ada"})

    assert elsewhere.redeem(token).user.name == "Ada"
    for process in (tokens, elsewhere):
        with pytest.raises(InvalidToken):
            process.redeem(token)


def test_a_user_has_so_many_tokens_over_all_processes(tokens, elsewhere):
    token = tokens.issue("ada", "lobby")
    for process in (tokens, elsewhere):
        process.issue("ada", "lobby")
    for process in (tokens, elsewhere):
        with pytest.raises(TooManyTokens):
            process.issue("ada", "lobby")

    tokens.redeem(token)

    tokens.issue("ada", "lobby")
    with pytest.raises(TooManyTokens):
        elsewhere.issue("ada", "lobby")


def test_no_token_can_be_read_in_the_redis(valkey, tokens):
    token = tokens.issue("ada", "lobby")

    found = kept(valkey)

    assert len(found) == 4
    assert not any(token in text for text in found)


def test_nothing_is_kept_of_a_spent_token(valkey, tokens):
    tokens.redeem(tokens.issue("ada", "lobby"))

    wait_until(lambda: kept(valkey) == [])  # the redeemer does not


def test_what_is_never_redeemed_expires_by_itself(valkey, tokens):
    tokens.issue("ada", "lobby")

    keys = valkey.ask("KEYS", "*")

    assert len(keys) == 2
    for key in keys:
        assert 80 < valkey.ask("TTL", key) <= 90


def test_a_refused_token_is_not_kept(valkey, tokens):
    for _ in range(3):
        tokens.issue("ada", "lobby")
    with pytest.raises(TooManyTokens):
        tokens.issue("ada", "lobby")

    assert valkey.ask("DBSIZE") == 4


@pytest.mark.parametrize(
    "token", ["", "0" * 63, "0" * 65, "0" * 63 + "\n", "F" * 64, "g" * 64, "٣" * 64, "0" * 100_000, "\ud800"]
)
def test_the_redis_is_not_asked_for_what_can_be_no_token(bus, tokens, token):
    bus.close()

    with pytest.raises(InvalidToken):
        tokens.redeem(token)


def test_without_a_redis_it_says_so_and_nothing_is_spent(bus, tokens, elsewhere):
    token = tokens.issue("ada", "lobby")
    bus.close()

    with pytest.raises(BrokerUnavailable):
        tokens.issue("ada", "lobby")
    with pytest.raises(BrokerUnavailable):
        tokens.redeem(token)
    assert elsewhere.redeem(token).username == "ada"
