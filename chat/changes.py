"""Who may change a message, and until when."""

from chat.errors import ChatError, Forbidden, MessageDeleted, NoSuchMessage, NotYourMessage, TooLateToEdit
from chat.event import Deleted, Edited, Past


def right_to(event: Edited | Deleted) -> str:
    """What whoever has said the message must be allowed, to do this to it."""
    return "edit" if isinstance(event, Edited) else "delete"


def objection(event: Edited | Deleted, past: Past | None, rights: frozenset[str] | None, window: float) -> ChatError | None:
    """Why the message `past`, which `event` is about, may not be changed; None when it may.

    `rights` are those of `event.sender`, None for the application, which may do all.  `window` is in seconds, 0 is no
    limit; it holds for authors, not for moderators.
    """
    if past is None:
        return NoSuchMessage()
    if past.deleted is not None:
        return MessageDeleted()
    if rights is None or "moderate" in rights:
        return None
    if past.sender != event.sender:
        return NotYourMessage()
    if right_to(event) not in rights:
        return Forbidden()
    if window and (event.date - past.date).total_seconds() > window:
        return TooLateToEdit()
    return None
