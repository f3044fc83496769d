"""Say which passwords are too weak, hash the others and check them, away from the hub.

One argon2 hash takes about 30 ms of a core, on purpose: on the hub it would stop every socket for as long.  It releases
the GIL, so a native thread is enough.  Not the hub's own pool (DNS lives there) and not the database's thread (a burst of
logins must not hold up the log).
"""

from collections.abc import Callable
from typing import Final, TypeVar
from unicodedata import normalize

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from gevent.lock import RLock
from gevent.threadpool import ThreadPool

from chat.errors import ChatError

T = TypeVar("T")

THREADS: Final = 2
WAITING: Final = 32  # hashes that wait at most: half a second of work for two threads
MIN_LENGTH: Final = 8  # characters; NIST SP 800-63B section 5.1.1.2
MAX_LENGTH: Final = 1024

# The second profile of OWASP's Password Storage Cheat Sheet.  One lane, because the threads already fill the cores.  The
# parameters are part of each hash, so they can be raised: what is stored with others is renewed at the next login.
HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)

# Checked in place of the hash of a user who does not exist, so that both take as long; tests hold it to HASHER's costs.
NOBODY: Final = "$argon2id$v=19$m=19456,t=2,p=1$c+uSBC4yEhFykAWs6CeDeQ$tKLFsU4sA9iffaZwyPKxh9oDJ8eV1+8FeGu1BJ9UAmk"


class WeakPassword(ChatError):
    """A password that nobody may have; `why` is what it does wrong."""

    code = "weak_password"
    text = f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters"

    def __init__(self, why: str = "") -> None:
        self.why = why

    def __str__(self) -> str:
        return f"the password {self.why}" if self.why else self.text


class TooManyLogins(ChatError):
    """So many hashes wait that another one would only wait in vain.  Nothing was hashed."""

    code = "too_many_logins"
    retry = True
    text = "too many people are logging in at this moment"


class Passwords:
    """A bounded queue of hashes in front of two threads, which start with the first of them."""

    def __init__(self) -> None:
        self._pool: ThreadPool | None = None
        self._under_way = 0
        self._common: frozenset[str] | None = None
        self._reading = RLock()

    def hash(self, password: str, username: str) -> str:
        """Return what may be stored for this user.  Blocks.  Raises: WeakPassword, TooManyLogins."""
        text = _normal(password)
        if text is None or not MIN_LENGTH <= len(text) <= MAX_LENGTH:
            raise WeakPassword
        folded, name = _folded(text), _folded(username)
        if folded == name or (folded.startswith(name) and folded.removeprefix(name).isdecimal()):
            raise WeakPassword("is the user name, or that with digits after it")
        if folded in self._common_ones():
            raise WeakPassword("is one that many people use, and so one of the first that are guessed")
        return self._run(lambda: HASHER.hash(text))

    def matches(self, password: str, stored: str | None) -> bool:
        """Tell whether `stored` was made from `password`; None takes as long and is never right.  Blocks.

        Raises: TooManyLogins.
        """
        text = _normal(password)
        if text is None or len(text) > MAX_LENGTH:
            return False
        right = self._run(lambda: _verify(stored or NOBODY, text))
        return right and stored is not None

    def renewed(self, password: str, stored: str) -> str | None:
        """Return a new hash of a right password where `stored` has not the parameters of today, else None.  Blocks.

        Raises: TooManyLogins.
        """
        text = _normal(password)
        if text is None or not HASHER.check_needs_rehash(stored):
            return None
        return self._run(lambda: HASHER.hash(text))

    def _common_ones(self) -> frozenset[str]:
        """Read at the first use, which takes about 30 ms, and once: an import must not meet itself in another thread."""
        with self._reading:
            if self._common is None:
                self._common = self._run(_read_common)
            return self._common

    def _run(self, work: Callable[[], T]) -> T:
        if self._under_way >= THREADS + WAITING:
            raise TooManyLogins
        self._under_way += 1
        try:
            if self._pool is None:
                self._pool = ThreadPool(THREADS)
            result: T = self._pool.apply(work)
            return result
        finally:
            self._under_way -= 1

    def close(self) -> None:
        """End the threads, once they have done what they are doing.  Blocks; idempotent."""
        if self._pool is not None:
            self._pool.kill()
            self._pool = None


def _normal(password: str) -> str | None:
    """The same password typed on another keyboard is the same (NIST SP 800-63B section 5.1.1.2).

    None is too long to be worth it: normalising takes time that grows with the square.
    """
    return normalize("NFKC", password) if len(password) <= MAX_LENGTH else None


def _folded(text: str) -> str:
    return normalize("NFKC", normalize("NFKC", text).casefold())


def _read_common() -> frozenset[str]:
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return frozenset(_folded(word) for word in FREQUENCY_LISTS["passwords"] if len(word) >= MIN_LENGTH)


def _verify(stored: str, password: str) -> bool:
    """An exception in gevent's threads is printed with its traceback, so a wrong password must not be one there."""
    try:
        return HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False
