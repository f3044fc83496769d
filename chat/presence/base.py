"""Whose name it is, and who is in a channel.

A name is reserved before the upgrade, so that a taken one can still be refused as plain HTTP; confirmed when the channel
lists the user; released when the channel has announced that the user left.  In between, `abandon` frees the name for the
next one at once, because a user who lost the network comes back sooner than the channel gets round to saying so.

Display names are kept here because whoever comes later must be told them too, whichever process the user is connected to.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from chat.config import DuplicateUser
from chat.event import User


class Presence(ABC):
    """Who is where.  `channel` is `ChannelRecord.key`; `member` is an id, unique over all members of all processes.

    What blocks raises BrokerUnavailable where several processes share it and it cannot be reached.  Then it may be done or
    not, so do it again, except `reserve`: that is undone, though whoever lost the name by it does not get it back.
    """

    @abstractmethod
    def reserve(self, channel: str, username: str, member: str, policy: DuplicateUser) -> list[str]:
        """Take the name for `member`; return the ids of the members that lose it (under "replace").  Blocks.

        Raises: UserAlreadyConnected (under "reject").
        """

    @abstractmethod
    def confirm(self, channel: str, user: User, member: str) -> User | None:
        """List the user, by this display name from now on; return how they were listed before, None if not.  Blocks.

        Raises: KeyError when `member` has not reserved the name, or has it no more.
        """

    @abstractmethod
    def abandon(self, channel: str, username: str, member: str) -> None:
        """Let the name go, though a listed user stays listed until `release`.  Never yields; idempotent."""

    @abstractmethod
    def release(self, channel: str, username: str, member: str) -> User | None:
        """Forget `member`; return the user if they were listed and are so no more.  Blocks; idempotent.

        The user is returned once: to nobody, if that answer is lost.
        """

    @abstractmethod
    def users(self, channel: str, limit: int | None = None) -> list[User]:
        """Who is listed, sorted by username; or, when they are more than `limit`, any `limit` of them.  Blocks."""

    @abstractmethod
    def count(self, channel: str) -> int:
        """How many users are listed.  Blocks."""

    @abstractmethod
    def counts(self, channels: Sequence[str]) -> list[int]:
        """How many users are listed in each of these.  Blocks, for about as long as `count` does."""

    @abstractmethod
    def is_listed(self, channel: str, username: str) -> bool:
        """Whether that user is listed.  Blocks."""

    @abstractmethod
    def restore(self, channel: str, users: Sequence[tuple[User, str]]) -> list[User]:
        """List these members, each with its user, again: as many of them as were lost.  Blocks; idempotent.

        Returns the users that were not listed any more.
        What is known of a member or of a display name is not changed, except that a name that was only reserved is listed.
        Who took the name while it was lost has it too from then on.
        """

    def forget(self, channel: str, process: str) -> list[User]:
        """Remove all members of a process that died; return the users who are listed no more.  Blocks; idempotent.

        If several do that at once, each user is returned to one of them.
        Raises: BrokerUnavailable; then some may have been forgotten, of whom nobody is told.  Do it again for the others.
        """
        del channel, process  # where there is one process, nobody is left to ask
        return []
