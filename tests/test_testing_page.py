"""What docs/testing.md shows works as it stands there."""

import re
from inspect import signature

import pytest

from tests import conftest
from tests.live.servers import TOP

PLUGINS, *EXAMPLES = re.findall(r"```python\n(.*?)```", (TOP / "docs" / "testing.md").read_text(), re.DOTALL)


def run(code: str) -> dict[str, object]:
    names: dict[str, object] = {"__name__": "example"}
    exec(code, names)
    return names


@pytest.mark.parametrize("code", EXAMPLES, ids=lambda code: re.findall(r"def (test_\w+)", code)[0])
def test_an_example_passes(code: str, request: pytest.FixtureRequest) -> None:
    tests = [found for name, found in run(code).items() if name.startswith("test_") and callable(found)]

    for test in tests:
        test(**{name: request.getfixturevalue(name) for name in signature(test).parameters})


def test_the_plugins_are_those_that_these_tests_use() -> None:
    assert set(run(PLUGINS)["pytest_plugins"]) <= set(conftest.pytest_plugins)
