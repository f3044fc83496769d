"""The folder of an embedded Valkey: its data, its socket, and who has it.

Who is alive is told by flocks, which the kernel releases however a process ends, so no process id has to be trusted:

* `lock` is the supervisor's alone, and its Valkey shares it.  Whoever starts a supervisor takes it first and hands it on.
  So there is never a second supervisor, and none as long as a Valkey that was left behind may still write.
* `users` is shared by all masters of gunicorn, and a fork shares a lock, so by their workers too.  A supervisor that gets
  it for itself is not needed any more; it keeps it to its end, so that whoever comes meanwhile waits.
"""

import fcntl
import os
import socket
import stat
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import quote

LONGEST: Final = 107  # bytes of a unix socket's path: sockaddr_un has 108, with a NUL
SOCKET: Final = "socket"


class Unavailable(Exception):
    """There is no Valkey; the text says why."""


class Home:
    """`valkey/` in an instance folder."""

    def __init__(self, instance: Path) -> None:
        self.folder = instance.resolve() / "valkey"  # one way to it, for everybody: the socket's path depends on that
        self._lock = self.folder / "lock"
        self._users = self.folder / "users"
        self._elsewhere = self.folder / "elsewhere"  # a link to the socket's folder, where this one's path is too long

    def make(self) -> None:
        """Make the folder, for its owner alone.  Raises: OSError."""
        self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o700)

    # The flocks.  None of these blocks; each descriptor returned is the lock.

    def take(self) -> int | None:
        """The supervisor's lock, if nobody has it."""
        return _flock(self._lock, fcntl.LOCK_EX)

    def join(self) -> int | None:
        """A user's lock, unless the supervisor is about to end."""
        return _flock(self._users, fcntl.LOCK_SH)

    def close(self) -> int | None:
        """The lock of all users, if there is none."""
        return _flock(self._users, fcntl.LOCK_EX)

    @property
    def is_vacant(self) -> bool:
        """Whether there is no supervisor, and no Valkey."""
        lock = self.take()
        if lock is None:
            return False
        os.close(lock)
        return True

    # The socket.

    @property
    def socket(self) -> Path:
        """Where it is."""
        near = self.folder / SOCKET
        if _fits(near):
            return near
        try:
            return self._elsewhere.readlink() / SOCKET
        except OSError:  # it has no place yet
            return near

    @property
    def url(self) -> str:
        """As clients of Redis write it."""
        return f"unix://{quote(str(self.socket))}"

    def place(self) -> None:
        """Make the place of the socket, the same as before if that can be.  For who has the lock.

        Raises: OSError; Unavailable when all paths are too long.
        """
        if _fits(self.folder / SOCKET):
            return
        if self._elsewhere.is_symlink():
            if _make_private(self._elsewhere.readlink()):
                return
            self._elsewhere.unlink()
        self._elsewhere.symlink_to(_somewhere())

    def clear(self) -> None:
        """Remove the socket and its place.  For who has the lock."""
        self.socket.unlink(missing_ok=True)
        if self._elsewhere.is_symlink():
            self._elsewhere.readlink().rmdir()
            self._elsewhere.unlink()

    def ask(self, command: str, deadline: float = 1.0) -> str:
        """What Valkey says to a command without arguments, "" when it does not within so many seconds.  Blocks."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(deadline)
            try:
                sock.connect(str(self.socket))
                sock.sendall(f"{command}\r\n".encode())
                return sock.recv(1000).decode(errors="replace").strip()
            except OSError:
                return ""


def _flock(path: Path, operation: int) -> int | None:
    """Raises: OSError."""
    # Python opens everything O_CLOEXEC: a program that a worker starts is no user.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(descriptor)
        if isinstance(exc, BlockingIOError):
            return None
        raise
    return descriptor


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= LONGEST


def _make_private(folder: Path) -> bool:
    """Make it; False when there is something else of that name, which may be anybody's."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) == 0o700
    return True


def _somewhere() -> Path:
    for base in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 (mkdtemp makes what is nobody else's)
        if _fits(Path(base, "chat-valkey-12345678", SOCKET)):
            return Path(tempfile.mkdtemp(prefix="chat-valkey-", dir=base))
    raise Unavailable("no path for its socket is short enough; set CHAT_INSTANCE to a shorter one")
