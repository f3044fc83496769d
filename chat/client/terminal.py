"""A conversation between somebody at a terminal and one channel."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import gevent
from gevent.event import AsyncResult
from gevent.queue import JoinableQueue

from chat.client.channel import ClientChannel
from chat.client.client import State
from chat.client.commands import HELP, Command, Mistake, Say, parse
from chat.client.receipt import Receipt
from chat.client.screen import Screen
from chat.errors import ChatError

PATIENCE: Final = 10.0  # seconds for what was said to be confirmed, at the end or before it is changed
PAGE: Final = 20  # messages


class Terminal:
    """`stays`: it goes on when there are no more lines."""

    def __init__(self, channel: ClientChannel, screen: Screen, *, stays: bool = False) -> None:
        self._channel = channel
        self._screen = screen
        self._stays = stays
        self._said: list[Receipt[int | None]] = []  # messages to everybody that can still be changed
        self._unsure: JoinableQueue[tuple[Receipt[int | None], str]] = JoinableQueue()
        self._failed = False
        self._end: AsyncResult[None] = AsyncResult()

    def run(self, lines: Iterable[str]) -> bool:
        """Talk until the lines end, or the channel does; return whether all was said.  Blocks.

        Raises: Refused, Ended, when it is the server that ends it; OSError when nobody reads the screen.
        """
        channel = self._channel
        self._screen.me = channel.username
        here = f"{channel.count} here" if channel.count > 1 else "nobody else here"
        self._screen.notice(f"{channel.username} in {channel.name}, {here}; /help tells what to type")
        work = [gevent.spawn(self._try, part) for part in (self._hear, lambda: self._type(lines), self._confirm)]
        try:
            self._end.get()
            return self._unsure.join(PATIENCE) and not self._failed
        finally:
            gevent.killall(work)

    def _try(self, part: Callable[[], None]) -> None:
        """Do one part of it, and end all of it when that fails."""
        try:
            part()
        except (ChatError, OSError) as exc:
            self._end.set_exception(exc)

    def _hear(self) -> None:
        for event in self._channel:
            self._screen.show(event)

    def _type(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._screen.erase_typed()
            if parse(line) == Command("quit"):
                break
            try:
                self._do(line)
            except (ChatError, TimeoutError) as exc:
                self._failed = True
                self._screen.notice(f"not done: {exc}")
        else:
            if self._stays:
                return
        self._end.set(None)

    def _do(self, line: str) -> None:
        match parse(line):
            case Say(text, to):
                receipt = self._channel.publish(text, to=to)
                if to is None:
                    self._said.append(receipt)
                self._unsure.put((receipt, text))
            case Command(name, text):
                getattr(self, f"_{name}")(text)
            case Mistake(why):
                self._screen.notice(why)

    def _edit(self, text: str) -> None:
        if offset := self._own_last():
            self._unsure.put((self._channel.edit(offset, text), text))

    def _delete(self, _text: str) -> None:
        if offset := self._own_last():
            self._unsure.put((self._channel.delete(offset), "/delete"))
            self._said.pop()

    def _own_last(self) -> int | None:
        """Where the last thing that was said here stands, once that is known."""
        while self._said:
            try:
                if offset := self._said[-1].wait(PATIENCE):
                    return offset
            except ChatError:
                pass  # which was told
            self._said.pop()
        self._screen.notice("you have said nothing here yet")
        return None

    def _names(self, _text: str) -> None:
        names = ", ".join(sorted(self._channel.users))
        more = self._channel.count - len(self._channel.users)
        self._screen.notice(f"{names} and {more} more" if more > 0 else names)

    def _history(self, text: str) -> None:
        self._screen.show_past(self._channel.history(limit=int(text or PAGE)).events)

    def _help(self, _text: str) -> None:
        for line in HELP.splitlines():
            self._screen.notice(line)

    def _confirm(self) -> None:
        """Tell what was not said."""
        while True:
            receipt, text = self._unsure.get()
            try:
                receipt.wait()
            except ChatError as exc:
                self._failed = True
                self._screen.notice(f"not said: {text} ({exc})")
            finally:
                self._unsure.task_done()


class Weather:
    """Tells, quietly, what becomes of the connection."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._is_down = False

    def __call__(self, state: State) -> None:
        """The connection has changed."""
        with suppress(OSError):  # which whoever writes next finds out too
            if state.name == "waiting" and not self._is_down:
                self._is_down = True
                self._screen.notice(f"no connection ({state.error}); trying again")
            elif state.name == "online" and self._is_down:
                self._is_down = False
                self._screen.notice("connected")
