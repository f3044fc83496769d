import logging
from dataclasses import FrozenInstanceError, fields

import pytest

from chat import ServerConf

SIZES = ["read_buf", "write_buf", "inbox", "tokens_per_user", "max_message", "recent_events"]
SECONDS = ["token_deadline", "token_cleanup_delay", "channel_idle_timeout", "channel_cleanup_delay", "recent_age"]
NO_LIMIT = {"edit_window": float, "retention_age": float, "retention_count": int}  # where they are 0


def test_the_defaults_are_those_of_the_documentation():
    conf = ServerConf()

    assert {field.name: getattr(conf, field.name) for field in fields(conf)} == {
        "read_buf": 8192,
        "write_buf": 1_048_576,
        "inbox": 1024,
        "token_deadline": 30.0,
        "token_cleanup_delay": 300.0,
        "tokens_per_user": 200,
        "channel_idle_timeout": 300.0,
        "channel_cleanup_delay": 1800.0,
        "controller": None,
        "logger": None,
        "debug_log": False,
        "max_message": 4096,
        "edit_window": 86400.0,
        "recent_events": 1000,
        "recent_age": 3600.0,
        "retention_age": 0.0,
        "retention_count": 0,
        "duplicate_user": "reject",
    }


@pytest.mark.parametrize("field", SIZES)
@pytest.mark.parametrize("value", [0, -1, 1.0, 1.5, "5", None, True, float("nan"), [5]])
def test_a_size_that_is_no_whole_number_above_0_is_named(field, value):
    with pytest.raises(ValueError, match=f"^{field}: "):
        ServerConf(**{field: value})


@pytest.mark.parametrize("field", SECONDS)
@pytest.mark.parametrize(
    "value",
    [
        0,
        0.0,
        -0.0,
        -1,
        -0.5,
        float("nan"),
        float("inf"),
        float("-inf"),
        "5",
        None,
        True,
        [5],
        pytest.param(10**400, id="huge"),
    ],
)
def test_a_time_that_is_no_finite_number_above_0_is_named(field, value):
    with pytest.raises(ValueError, match=f"^{field}: "):
        ServerConf(**{field: value})


@pytest.mark.parametrize(("field", "kind"), NO_LIMIT.items())
def test_where_0_is_no_limit_less_is_named(field, kind):
    assert getattr(ServerConf(**{field: kind(0)}), field) == 0
    for value in (-1, float("nan"), float("inf"), "5", None, True):
        with pytest.raises(ValueError, match=f"^{field}: "):
            ServerConf(**{field: value})


@pytest.mark.parametrize("value", [0, 1, "yes", None])
def test_a_switch_that_is_no_bool_is_named(value):
    with pytest.raises(ValueError, match=r"^debug_log: "):
        ServerConf(debug_log=value)


@pytest.mark.parametrize("value", ["", "Reject", "ignore", None, 1, ["reject"]])
def test_an_unknown_policy_is_named(value):
    with pytest.raises(ValueError, match=r"^duplicate_user: "):
        ServerConf(duplicate_user=value)


@pytest.mark.parametrize("value", ["chat", 5, print, logging])
def test_what_is_no_logger_is_named(value):
    with pytest.raises(ValueError, match=r"^logger: "):
        ServerConf(logger=value)


@pytest.mark.parametrize("field", SIZES)
def test_the_smallest_size_is_1(field):
    assert getattr(ServerConf(**{field: 1}), field) == 1


@pytest.mark.parametrize("field", SECONDS)
@pytest.mark.parametrize("value", [1, 0.001, 1e6])
def test_seconds_may_be_whole_or_not(field, value):
    assert getattr(ServerConf(**{field: value}), field) == value


@pytest.mark.parametrize("policy", ["reject", "replace", "share"])
def test_each_policy_is_taken(policy):
    assert ServerConf(duplicate_user=policy).duplicate_user == policy


def test_any_object_can_be_the_controller():
    controller = object()

    assert ServerConf(controller=controller).controller is controller


def test_a_logger_is_taken():
    logger = logging.getLogger("somebody")

    assert ServerConf(logger=logger).logger is logger


def test_every_field_but_the_controller_is_checked():
    assert {field.name for field in fields(ServerConf)} == {
        *SIZES,
        *SECONDS,
        *NO_LIMIT,
        "controller",
        "logger",
        "debug_log",
        "duplicate_user",
    }


def test_it_cannot_be_changed():
    conf = ServerConf()

    for field in fields(conf):
        with pytest.raises(FrozenInstanceError):
            setattr(conf, field.name, getattr(conf, field.name))


def test_it_takes_keywords_only():
    with pytest.raises(TypeError):
        ServerConf(8192)


def test_an_unknown_field_is_refused():
    with pytest.raises(TypeError, match="colour"):
        ServerConf(colour="red")


@pytest.mark.parametrize(
    ("retention", "at_hand"),
    [
        ({}, (10, 60.0)),
        ({"retention_count": 11, "retention_age": 61.0}, (10, 60.0)),
        ({"retention_count": 9}, (9, 60.0)),
        ({"retention_age": 59.0}, (10, 59.0)),
    ],
)
def test_no_more_is_at_hand_than_is_kept(retention, at_hand):
    assert ServerConf(recent_events=10, recent_age=60.0, **retention).at_hand == at_hand


def test_equal_settings_are_equal():
    assert ServerConf(inbox=5) == ServerConf(inbox=5) != ServerConf(inbox=6)
