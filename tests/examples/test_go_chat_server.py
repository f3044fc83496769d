"""The demo server: what go-chat-i-guess's clients rely on, and what its own demo got wrong."""

import json
import re
import signal
from contextlib import closing, suppress
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from examples.go_chat_server import Options, read_options
from tests.examples.clients import WebSocketTalker, ask, encode, refusal, said
from tests.examples.conftest import Demo, Enter
from tests.examples.programs import example

FOREIGN = "http://evil.example"
NOT_BASE64 = ["a", "a+b=", "YW5u*", "YW%20u", "YW5u%0A", "====", "YQ===", "%C3%A9", "gICA"]  # the last: no UTF-8
NO_NAMES = ["ann\n2006-01-02 > bob: I am bob", " ann", "ann\u202e", "a" * 65, "ann\0"]


# The page


@pytest.mark.parametrize("path", ["/", "/chat_page"])
def test_the_page_is_at_both_addresses(demo: Demo, path: str):
    answer = ask(demo.port, "GET", path)

    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "<title>Chat</title>" in answer.text


def test_the_page_may_run_no_script_but_its_own(demo: Demo):
    policy = ask(demo.port, "GET", "/").headers["Content-Security-Policy"]

    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert ask(demo.port, "GET", "/static/page.js").status == 200


# Channels and tokens


@pytest.mark.parametrize("name", ["plain", "with space", "Grüße ¿¾ÿ", "猫の部屋"])
def test_a_channel_is_made_of_its_name_in_base64(demo: Demo, name: str):
    answer = ask(demo.port, "POST", f"/new_channel/{encode(name)}")

    assert (answer.status, answer.text) == (204, "")
    assert demo.token(name, "ann")


def test_base64_may_come_without_its_padding(demo: Demo):
    assert ask(demo.port, "POST", f"/new_channel/{encode('unpadded').rstrip('=')}").status == 204
    assert demo.token("unpadded", "ann")


def test_a_channel_cannot_be_made_twice(demo: Demo, channel: str):
    answer = ask(demo.port, "POST", f"/new_channel/{encode(channel)}")

    assert (answer.status, answer.text) == (409, f"channel {channel!r} exists already\n")


def test_a_token_is_plain_text_that_nobody_keeps(demo: Demo, channel: str):
    answer = ask(demo.port, "POST", f"/new_token/{encode(channel)}/{encode('ann')}")

    assert re.fullmatch("[0-9a-f]{64}", answer.text)
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("name", NOT_BASE64)
def test_bad_base64_makes_no_channel(demo: Demo, name: str):
    answer = ask(demo.port, "POST", f"/new_channel/{name}")

    assert (answer.status, answer.text) == (400, "the name is not URL-safe base64 of UTF-8\n")


@pytest.mark.parametrize("name", NOT_BASE64)
def test_bad_base64_mints_no_token(demo: Demo, channel: str, name: str):
    for path in (f"/new_token/{encode(channel)}/{name}", f"/new_token/{name}/{encode('ann')}"):
        answer = ask(demo.port, "POST", path)

        assert (answer.status, answer.text) == (400, "the name is not URL-safe base64 of UTF-8\n")


def test_an_empty_name_mints_no_token(demo: Demo, channel: str):
    assert ask(demo.port, "POST", f"/new_token/{encode(channel)}/").status == 404


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_that_could_deceive_is_refused(demo: Demo, channel: str, name: str):
    for path in (f"/new_token/{encode(channel)}/{encode(name)}", f"/new_channel/{encode(name)}"):
        answer = ask(demo.port, "POST", path)

        assert answer.status == 400
        assert "name" in answer.text


def test_there_is_no_token_for_an_unknown_channel(demo: Demo):
    answer = ask(demo.port, "POST", f"/new_token/{encode('nowhere')}/{encode('ann')}")

    assert (answer.status, answer.text) == (404, "channel 'nowhere' does not exist\n")


def test_reading_changes_nothing(demo: Demo):
    assert ask(demo.port, "GET", f"/new_channel/{encode('by get')}").status == 405
    assert ask(demo.port, "POST", f"/new_token/{encode('by get')}/{encode('ann')}").status == 404


def test_an_unknown_address_is_told_as_text(demo: Demo):
    answer = ask(demo.port, "GET", "/<script>alert(1)</script>")

    assert answer.status == 404
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "script" not in answer.text


# The chat


def test_a_message_goes_to_everybody_in_the_form_of_the_original(channel: str, enter: Enter):
    ann, bob = enter(channel, "ann"), enter(channel, "bob")
    ann.wait_for(f"bob entered {channel}!")

    ann.say("hello <b>there</b>")

    for talker in (ann, bob):
        line = talker.hear()
        assert re.fullmatch(r"\d{4}-\d\d-\d\d - \d\d:\d\d:\d\d \(\+0000\) > ann: hello <b>there</b>", line)


def test_who_leaves_is_told_to_the_others(channel: str, enter: Enter):
    ann, bob = enter(channel, "ann"), enter(channel, "bob")

    bob.close()

    ann.wait_for(f"bob exited {channel}...")


def test_users_are_listed_for_the_asker_alone(channel: str, enter: Enter):
    ann, bob = enter(channel, "ann"), enter(channel, "bob, jr")
    ann.wait_for(f"bob, jr entered {channel}!")

    ann.say("/users")

    assert said(ann.hear()) == "2 here:\n    ann\n    bob, jr"
    ann.say("that is all")
    assert said(bob.hear()) == "ann: that is all"


def test_a_list_that_is_too_long_is_cut(demo: Demo, channel: str, enter: Enter):
    for number in range(18):
        enter(channel, f"{number:02}{'🐈' * 62}")
    last = enter(channel, "ann")

    last.say("/users")

    lines = said(last.hear()).splitlines()
    assert (lines[0], lines[-1]) == ("19 here:", "    ...")
    assert all(len(line) == 4 + 64 for line in lines[1:-1])


def test_quit_ends_the_connection_of_who_says_it(demo: Demo, channel: str, enter: Enter):
    ann, bob = enter(channel, "ann"), enter(channel, "bob")

    bob.say("/quit")
    with suppress(ConnectionClosed):  # it may have been told already
        bob.say("/users")  # too late

    bob.is_hung_up_on()
    ann.wait_for(f"bob exited {channel}...")
    ann.say("/users")
    assert said(ann.hear()) == "1 here:\n    ann"
    assert "Traceback" not in demo.server.log


def test_a_line_break_in_a_message_forges_no_line(channel: str, enter: Enter):
    ann = enter(channel, "ann")

    ann.say("hello\n2006-01-02 - 15:04:05 (+0000) > bob: I am bob")

    assert said(ann.hear()) == "ann: hello\n    2006-01-02 - 15:04:05 (+0000) > bob: I am bob"


def test_a_message_that_is_too_long_is_refused_and_the_connection_goes_on(channel: str, enter: Enter):
    ann = enter(channel, "ann")

    ann.say("x" * 4097)
    ann.say("still here")

    assert said(ann.hear()) == "Not sent: the message has 4097 bytes, at most 4096 are allowed"
    assert said(ann.hear()) == "ann: still here"


def test_a_message_without_end_ends_the_connection(channel: str, enter: Enter):
    ann = enter(channel, "ann")

    ann.say("x" * (64 * 1024 + 1))

    with pytest.raises(ConnectionClosed) as caught:
        ann.hear()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009


def test_a_token_lets_in_once(demo: Demo, channel: str):
    cookie = f"X-ChatToken={demo.token(channel, 'ann')}"
    with closing(WebSocketTalker(demo.chat, Cookie=cookie)):
        status, why = refusal(demo.chat, Cookie=cookie)

    assert (status, why) == (401, "this token was never issued, was used already, or is too old\n")


@pytest.mark.parametrize("headers", [{}, {"Cookie": "X-ChatToken="}, {"Cookie": f"X-ChatToken={'0' * 64}"}])
def test_nobody_comes_in_without_a_token(demo: Demo, headers: dict[str, str]):
    assert refusal(demo.chat, **headers)[0] == 401


def test_a_name_that_is_taken_is_refused_and_cannot_speak(demo: Demo, channel: str, enter: Enter):
    ann = enter(channel, "ann")

    status, why = refusal(demo.chat, Cookie=f"X-ChatToken={demo.token(channel, 'ann')}")

    assert (status, why) == (409, "a user of that name is in the channel already\n")
    ann.say("alone")
    assert said(ann.hear()) == "ann: alone"


def test_a_name_is_free_again_as_soon_as_its_user_has_gone(channel: str, enter: Enter):
    enter(channel, "ann").close()

    assert enter(channel, "ann")


def test_a_foreign_page_can_do_nothing(demo: Demo, channel: str):
    cookie = f"X-ChatToken={demo.token(channel, 'ann')}"

    assert refusal(demo.chat, origin=FOREIGN, Cookie=cookie)[0] == 403
    assert ask(demo.port, "POST", f"/new_channel/{encode('foreign')}", Origin=FOREIGN).status == 403
    assert ask(demo.port, "POST", f"/new_token/{encode(channel)}/{encode('ann')}", Origin=FOREIGN).status == 403
    with closing(WebSocketTalker(demo.chat, origin=demo.url, Cookie=cookie)):
        pass  # the token was not spent


def test_the_chat_is_for_websockets_only(demo: Demo):
    answer = ask(demo.port, "GET", "/chat")

    assert (answer.status, answer.text) == (426, "this address speaks WebSocket only\n")


# Options


def test_options_are_those_of_the_original():
    names = {"IP", "Port", "ReadSize", "WriteSize", "IgnoreOrigin", "Debug"}

    assert set(Options.__struct_fields__) == names


def test_it_is_closed_to_strangers_unless_told_otherwise():
    options = read_options([])

    assert (options.IP, options.IgnoreOrigin, options.Debug) == ("127.0.0.1", False, False)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-Port", "80", "-IP", "0.0.0.0", "-IgnoreOrigin", "-ReadSize", "1024", "-WriteSize", "2048", "-Debug"],
        ["-Port=80", "-IP=0.0.0.0", "-IgnoreOrigin=true", "-ReadSize=1024", "-WriteSize=2048", "-Debug=1"],
        ["--Port", "80", "--IP=0.0.0.0", "--IgnoreOrigin", "--ReadSize=1024", "--WriteSize", "2048", "--Debug"],
    ],
)
def test_options_come_in_the_style_of_go(arguments: list[str]):
    wanted = Options(IP="0.0.0.0", Port=80, ReadSize=1024, WriteSize=2048, IgnoreOrigin=True, Debug=True)

    assert read_options(arguments) == wanted


def test_the_command_line_overrides_the_file(tmp_path: Path):
    file = tmp_path / "conf.json"
    file.write_text(json.dumps({"Port": 80, "Debug": True, "IgnoreOrigin": True}))

    options = read_options(["-confFile", str(file), "-Port", "81", "-Debug=false"])

    assert options == Options(Port=81, IgnoreOrigin=True)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"Port": "80"}', "$.Port"),
        ('{"Port": 65536}', "$.Port"),
        ('{"IgnoreOrigins": true}', "IgnoreOrigins"),
        ("[]", "object"),
        ("{", "truncated"),
        (None, "No such file"),
    ],
)
def test_a_wrong_file_is_complained_about(tmp_path: Path, capsys, text: str | None, complaint: str):
    file = tmp_path / "conf.json"
    if text is not None:
        file.write_text(text)

    with pytest.raises(SystemExit):
        read_options(["-confFile", str(file)])

    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("argument", ["-Port=x", "-Port=-1", "-ReadSize=0", "-Debug=maybe", "lobby"])
def test_a_wrong_argument_is_complained_about(capsys, argument: str):
    with pytest.raises(SystemExit):
        read_options([argument])

    assert "error:" in capsys.readouterr().err


def test_a_server_that_ignores_origins_lets_foreign_pages_in_and_ends_in_good_order(tmp_path: Path):
    file = tmp_path / "conf.json"
    file.write_text(json.dumps({"Port": 1, "IgnoreOrigin": True, "Debug": True}))

    with example("go_chat_server", "-confFile", str(file), "-Port=0") as (server, port):
        demo = Demo(server, port)
        channel = demo.channel()
        cookie = f"X-ChatToken={demo.token(channel, 'ann')}"
        with closing(WebSocketTalker(demo.chat, origin=FOREIGN, Cookie=cookie)) as ann:
            server.signal(signal.SIGINT)
            ann.is_hung_up_on()
            assert ann.socket.close_code == 1001
        assert server.wait() == 0
        assert f"user 'ann' is in channel {channel!r}" in server.log
        assert cookie.partition("=")[2] not in server.log
