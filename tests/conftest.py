"""What all tests may ask for."""

import signal

import pytest
from hypothesis import settings

pytest_plugins = ["chat.testing.fixtures", "web.testing.fixtures", "tests.postgres", "tests.valkey"]

# A shell's job in the background ignores Ctrl-C, and so would the programs that tests start, and send it to.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples each time, unless somebody looks for others: pytest --hypothesis-profile=long
settings.register_profile("short", max_examples=60, derandomize=True, database=None, deadline=None)
settings.register_profile("long", max_examples=3000, database=None, deadline=None, print_blob=True)
settings.load_profile("short")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts real servers and browsers comes first: the long files, which also wait much.  The many short ones behind
    them let all processes end at the same time."""
    items.sort(key=lambda item: "live" not in item.path.parts)
