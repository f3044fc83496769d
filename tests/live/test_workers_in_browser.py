"""Two people in browsers, whose sockets are with different workers of one gunicorn: the embedded Valkey is between them."""

import os
import re
import signal

import pytest

from tests.live.browser import Visitor
from tests.live.conftest import Invite, Site
from tests.live.servers import until

TOLD = {"CHAT_WORKERS": "3", "GUNICORN_CMD_ARGS": "--access-logformat '%(p)s %(s)s %(a)s'"}


def worker_of(site: Site, agent: str) -> int:
    """Which worker took the last socket of that browser."""
    lines = re.findall(rf"^<(\d+)> 101 {agent}$", site.server.log, re.MULTILINE)
    return int(lines[-1])


def with_another(site: Site, visitor: Visitor, agent: str, worker: int) -> int:
    """Load the page anew until another worker has its socket."""

    def is_elsewhere() -> bool:
        if worker_of(site, agent) != worker:
            return True
        visitor.page.reload()
        visitor.wait_until_in("garden")
        return worker_of(site, agent) != worker

    until(is_elsewhere, "a socket with another worker")
    return worker_of(site, agent)


@pytest.mark.settings(**TOLD)
def test_two_people_on_different_workers_chat_and_one_of_these_may_die(site: Site, invite: Invite) -> None:
    ann, bob = invite("ann", user_agent="first"), invite("bob", user_agent="second")
    ann.create("garden")
    bob.enter("garden")
    theirs = with_another(site, bob, "second", worker_of(site, "first"))

    ann.say("hello bob")
    bob.hears("hello bob")
    bob.say("hello ann")
    ann.hears("hello bob", "hello ann")
    os.kill(theirs, signal.SIGKILL)
    until(lambda: worker_of(site, "second") != theirs, "a socket with a worker that lives")
    bob.wait_until_in("garden")
    bob.say("that was nothing")
    ann.hears("hello bob", "hello ann", "that was nothing")

    bob.faults.clear()  # it says that the line was cut
