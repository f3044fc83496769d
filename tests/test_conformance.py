"""What is made of kosoku's report: nothing passes that was not run."""

import json

import pytest

from tests.conformance import Case, RunError, passes, read_report, summary


def report(count: int = 3, **changed: object) -> str:
    cases = {f"1.1.{number}": {"behavior": "OK", "behaviorClose": "OK", "remoteCloseCode": 1000} for number in range(count)}
    return json.dumps({"127.0.0.1:1": {**cases, **changed}})


def test_a_report_of_all_cases_is_read():
    cases = read_report(report(3), 3)

    assert cases == [Case(f"1.1.{number}", "OK", "OK") for number in range(3)]
    assert summary(cases) == "passed 3 of 3"


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_fewer_or_more_cases_than_there_are_are_no_run(count):
    with pytest.raises(RunError, match=f"{count} cases were run, not 3"):
        read_report(report(count), 3)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        "7",
        '{"a": {}, "b": {}}',
        '{"a": []}',
        '{"a": null}',
        '{"a": {"1.1.1": {}}}',
        '{"a": {"1.1.1": 7}}',
    ],
)
def test_what_is_no_report_about_one_server_is_no_run(text):
    with pytest.raises(RunError):
        read_report(text, 1)


@pytest.mark.parametrize(
    ("id", "behavior", "closing", "passed"),
    [
        ("1.1.1", "OK", "OK", True),
        ("7.1.6", "INFORMATIONAL", "INFORMATIONAL", True),
        ("6.4.3", "NON-STRICT", "OK", True),
        ("6.4.4", "NON-STRICT", "OK", True),
        ("6.4.2", "NON-STRICT", "OK", False),
        ("6.4.3", "FAILED", "OK", False),
        ("12.1.1", "UNIMPLEMENTED", "OK", False),
        ("1.1.1", "ERROR", "FAILED", False),
        ("1.1.1", "OK", "WRONG CODE", False),
        ("1.1.1", "OK", "UNCLEAN", False),
        ("6.4.3", "OK", "NON-STRICT", False),
        ("1.1.1", "ok", "OK", False),
    ],
)
def test_what_passes(id, behavior, closing, passed):
    assert Case(id, behavior, closing).passed is passed


def test_those_that_failed_are_named():
    failed = {"6.1.1": {"behavior": "FAILED", "behaviorClose": "OK"}}

    assert summary(read_report(report(1, **failed), 2)) == "passed 1 of 2; failed: 6.1.1 (FAILED, close OK)"


def test_all_of_autobahns_cases_are_asked_for():
    route = [given.expected for given in passes() if given.path == "/route"]

    assert sorted(route) == sorted([247, 54, 126, 90])
    assert len([given for given in passes() if given.tls]) == 2
