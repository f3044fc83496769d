"""The bus in a process where gevent has replaced the sockets, as it has where this runs; TLS is to be had only there."""

import pytest

from chat.errors import BrokerUnavailable
from tests.chat.test_cooperative import run

FILES = ("tests/chat/bus/cooperative.py", "tests/chat/bus/test_bus.py")


def test_it_is_asked_and_heard_where_gevent_has_replaced_the_sockets():
    script = """
        from gevent import monkey
        monkey.patch_all()
        import sys
        import pytest
        sys.exit(pytest.main(sys.argv[1:]))
    """

    done = run(script, "-p", "no:cacheprovider", *FILES)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.logs_errors
def test_tls_that_would_hold_up_everybody_is_refused(make_bus):
    bus = make_bus("rediss://127.0.0.1:1", starts=False)

    with pytest.raises(BrokerUnavailable) as caught:
        bus.start()

    assert "TLS is only to be had where gevent has patched the process" in caught.value.why
