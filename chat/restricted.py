"""What `on_disconnect` is given of a channel: it can speak there, and nothing else."""

from typing import Protocol


class Speech(Protocol):
    """The part of a channel that is passed on."""

    @property
    def name(self) -> str: ...
    @property
    def is_closed(self) -> bool: ...
    def new_broadcast(self, msg: str, sender: str) -> None: ...
    def new_system_broadcast(self, msg: str) -> None: ...
    def new_whisper(self, msg: str, sender: str, to: str) -> None: ...
    def new_system_whisper(self, msg: str, to: str) -> None: ...


class RestrictedChatChannel:
    """A channel that can be spoken in.  Each method is that of `ChatChannel`."""

    __slots__ = ("_speech",)

    def __init__(self, speech: Speech) -> None:
        self._speech = speech

    @property
    def name(self) -> str:
        """The channel's name."""
        return self._speech.name

    @property
    def is_closed(self) -> bool:
        """Whether the channel has ended."""
        return self._speech.is_closed

    def new_broadcast(self, msg: str, sender: str) -> None:
        """Say `msg` to everybody, as `sender`."""
        self._speech.new_broadcast(msg, sender)

    def new_system_broadcast(self, msg: str) -> None:
        """Say `msg` to everybody, as the system."""
        self._speech.new_system_broadcast(msg)

    def new_whisper(self, msg: str, sender: str, to: str) -> None:
        """Say `msg` to one user, as `sender`."""
        self._speech.new_whisper(msg, sender, to)

    def new_system_whisper(self, msg: str, to: str) -> None:
        """Say `msg` to one user, as the system."""
        self._speech.new_system_whisper(msg, to)
