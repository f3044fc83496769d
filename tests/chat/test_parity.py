"""docs/parity.md: every row is there, and every test that it names exists and passes.

Tests of this folder are only looked up: they run in this session anyway.  Those elsewhere run in a process of their own,
all at once, unless this session collected them too.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.pages import ROOT, is_written, nodes, tables

PAGE = ROOT / "docs" / "parity.md"
HERE = "tests/chat/"
DEADLINE = 60.0  # seconds for the tests elsewhere

GO_NAMES = [
    "NewServer",
    "NewServerWithTimeout",
    "NewServerConf",
    "GetDefaultServerConf",
    "GetConf",
    "RequestToken",
    "CreateChannel",
    "GetChannel",
    "Connect",
    "ConnectAndWait",
    "ChatServer.Close",
    "ChatChannel.Name",
    "NewBroadcast",
    "NewSystemBroadcast",
    "NewSystemWhisper",
    "GetUsers",
    "RemoveUser",
    "ConnectUser",
    "ConnectUserAndWait",
    "IsClosed",
    "ChatChannel.Close",
    "RestrictedChatChannel",
    "MessageEncoder.Encode",
    "ChannelController.OnConnect",
    "ChannelController.OnDisconnect",
    "X entered C!",
    "X exited C...",
    "2006-01-02 - 15:04:05 (-0700) > from: msg",
    "Conn.Recv",
    "Conn.SendStr",
    "Conn.Close",
    "a channel must get a connection in time",
    "a silent channel probes its members",
    "a channel without members closes",
    "messages go to everybody in one order",
    "a nil conn panics",
    "ChatError InvalidToken",
    "ChatError IdleChannel",
    "ChatError DuplicatedChannel",
    "ChatError InvalidChannel",
    "ChatError ChannelClosed",
    "ChatError UserAlreadyConnected",
    "ChatError ConnEOF",
    "ChatError TestTimeout",
    "ChatError InvalidUser",
    "gorilla_ws_conn.NewConn",
    "mockConn.TestSend",
    "mockConn.TestRecv",
    "cmd/chat-server: / and /chat_page",
    "cmd/chat-server: /new_channel",
    "cmd/chat-server: /new_token",
    "cmd/chat-server: /chat with X-ChatToken",
    "cmd/chat-server: /users and /quit",
    "cmd/chat-server: options and confFile",
    "cmd/pinger",
    "cmd/gobwas-ws-raw-chat",
    "cmd/gobwas-ws-req-chat",
    "cmd/gorilla-ws-chat",
]
NUMBERS = [str(number) for number in range(1, 15)]


def rows(heading: str) -> dict[str, list[str]]:
    """The table under `heading`: first cell -> the node ids in the last."""
    table = tables(PAGE)[heading]
    found = {first.strip("`"): nodes(last) for first, *_, last in table}
    assert len(found) == len(table), "a row stands twice"
    return found


DOES = rows("What it does")
GETS_WRONG = rows("What it gets wrong")
NAMED = sorted({node for table in (DOES, GETS_WRONG) for nodes in table.values() for node in nodes})
ELSEWHERE = [node for node in NAMED if not node.startswith(HERE)]


def covers(named: str, collected: str) -> bool:
    """Whether `named` is that test, or a class or parametrised test that it belongs to."""
    return collected == named or collected.startswith((f"{named}[", f"{named}::"))


def run_pytest(*arguments: str) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE, check=False).stdout


@pytest.fixture(scope="module")
def in_this_session(request) -> list[str]:
    return [item.nodeid for item in request.session.items]


@pytest.fixture(scope="module")
def outcomes(in_this_session, tmp_path_factory) -> Iterator[dict[str, bool]]:
    """Which tests elsewhere passed; those that this session runs itself are not run again."""
    found = {node: True for node in in_this_session if not node.startswith(HERE)}
    missing = [node for node in ELSEWHERE if not any(covers(node, test) for test in found)]
    missing = [node for node in missing if is_written(node)]  # pytest runs nothing at all when one id is unknown
    if missing:
        report = tmp_path_factory.mktemp("parity") / "report.xml"
        run_pytest(f"--junit-xml={report}", "-o", "junit_family=xunit1", *missing)
        found |= read_report(report)
    return found


def read_report(report: Path) -> dict[str, bool]:
    """pytest's report in XML: node id -> whether it passed."""
    passed: dict[str, bool] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        path, name = case.attrib["file"], case.attrib["name"]
        inner = case.attrib["classname"].removeprefix(path.removesuffix(".py").replace("/", ".")).strip(".")
        passed["::".join(part for part in (path, *inner.split("."), name) if part)] = len(case) == 0
    return passed


@pytest.mark.parametrize("name", GO_NAMES)
def test_what_it_does_has_a_row_with_a_test(name):
    assert DOES.get(name)


@pytest.mark.parametrize("number", NUMBERS)
def test_what_it_gets_wrong_has_a_row_with_a_test(number):
    assert GETS_WRONG.get(number)


def test_there_are_no_other_rows():
    assert list(DOES) == GO_NAMES
    assert list(GETS_WRONG) == NUMBERS


@pytest.mark.parametrize("node", [node for node in NAMED if node.startswith(HERE)])
def test_a_test_of_this_folder_exists(node):
    assert is_written(node)


@pytest.mark.parametrize("node", ELSEWHERE)
def test_a_test_elsewhere_exists_and_passes(node, outcomes):
    assert [passed for found, passed in outcomes.items() if covers(node, found)], "there is no such test"
    assert all(passed for found, passed in outcomes.items() if covers(node, found))
