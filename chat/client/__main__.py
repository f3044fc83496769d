"""`python -m chat.client URL CHANNEL`: chat in a terminal, or from a pipe."""

import argparse
import getpass
import os
import sys
from typing import Final

from chat.client.client import ChatClient
from chat.client.errors import LoginRefused, Refused
from chat.client.lines import lines
from chat.client.login import Login
from chat.client.screen import Screen
from chat.client.terminal import Terminal, Weather
from chat.errors import ChatError

ENTER: Final = 15.0  # seconds
FAILED: Final = 1
MISUSED: Final = 2  # as argparse has it
INTERRUPTED: Final = 130  # 128 and SIGINT, as shells have it
EXISTS: Final = "duplicated_channel"

EPILOG: Final = """\
The password is asked for, or taken from CHAT_PASSWORD. From a pipe each line is said, and it ends once all is confirmed.
Exit status: 0 when everything was said, 1 when not or when the server would not have it, 2 for wrong arguments.
"""


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m chat.client", description=__doc__, epilog=EPILOG)
    parser.add_argument("url", metavar="URL", help="where the chat is: https://example.org/chat")
    parser.add_argument("channel", metavar="CHANNEL")
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--user", metavar="NAME", help="log in with a password")
    who.add_argument("--token", metavar="TOKEN", help="a token from POST {prefix}/token, good for one connection")
    parser.add_argument("--create", action="store_true", help="create the channel, if there is none")
    parser.add_argument("--stay", action="store_true", help="go on listening when there is nothing more to read from stdin")
    parsed = parser.parse_args(given)
    if parsed.create and parsed.token:
        parser.error("--create wants --user: a token is for a channel that exists")
    return parsed


def main(given: list[str] | None = None) -> int:
    """Return the exit status."""
    asked = arguments(given)
    try:
        login = Login(asked.user, _password(asked.user)) if asked.user else None
        return _talk(asked, login)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads us any more; Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except ValueError as exc:
        return _complain(exc, MISUSED)
    except (ChatError, OSError, EOFError) as exc:
        return _complain(exc, FAILED)


def _talk(asked: argparse.Namespace, login: Login | None) -> int:
    screen = _screen()
    with ChatClient(asked.url, login=login, token=asked.token, on_state=Weather(screen)) as client:
        if asked.create:
            try:
                client.create_channel(asked.channel)
            except Refused as exc:
                if exc.code != EXISTS:
                    raise
        channel = client.join(asked.channel, patient=False, timeout=ENTER)
        all_said = Terminal(channel, screen, stays=asked.stay).run(lines(sys.stdin.fileno()))
    return 0 if all_said else FAILED


def _screen() -> Screen:
    is_tty = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    return Screen(sys.stdout, colours=is_tty and not os.environ.get("NO_COLOR"), can_erase=is_tty and sys.stdin.isatty())


def _password(user: str) -> str:
    given = os.environ.get("CHAT_PASSWORD")
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise LoginRefused(message="there is nobody to ask for a password: set CHAT_PASSWORD")
    return getpass.getpass(f"Password of {user}: ")


def _complain(error: Exception, status: int) -> int:
    sys.stderr.write(f"chat: {error or type(error).__name__}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
