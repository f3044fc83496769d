"""The contracts again, and what only holds there, in a process where gevent has replaced the sockets."""

import subprocess
import sys
import textwrap

from tests.live.servers import TOP

FILES = ("tests/chat/cooperative.py", "tests/chat/test_database.py", "tests/chat/contracts/test_registry.py")


def run(script: str, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *args]
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=100)


def test_postgresql_keeps_its_contracts_where_gevent_has_replaced_the_sockets():
    script = """
        from gevent import monkey
        monkey.patch_all()
        import sys
        import pytest
        sys.exit(pytest.main(sys.argv[1:]))
    """

    done = run(script, "-p", "no:cacheprovider", "-k", "postgresql or cooperative", *FILES)

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_driver_that_would_hold_up_everybody_is_refused():
    script = """
        import psycopg.waiting
        from gevent import monkey
        monkey.patch_all()
        from chat.database import Database
        try:
            Database("postgresql://chat:secret@localhost/chat")
        except ValueError as exc:
            print(exc)
    """

    done = run(script)

    assert done.stdout.startswith("psycopg was imported before gevent replaced `select`")


def test_a_driver_that_is_missing_is_asked_for():
    script = """
        import sys
        sys.modules["psycopg"] = None  # as if it were not installed
        from chat.database import Database
        try:
            Database("postgresql://chat:secret@localhost/chat")
        except ValueError as exc:
            print(exc)
    """

    done = run(script)

    assert done.stdout == 'PostgreSQL needs a driver; run: pip install "psycopg[binary]"\n'
