"""Messages as they are now, made of what was logged about them: that they were said, edited and deleted."""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from chat.event import Deleted, Logged, Message, Past


def fold(events: Iterable[Logged]) -> list[Past]:
    """Return each message of `events`, which are in order, as the later ones of them have left it."""
    found: dict[int, Past] = {}
    for event in events:
        if isinstance(event, Message):
            found[event.offset] = Past(event.offset, event.sender, event.text, event.date, event.id, event.rendered)
        elif event.target in found:
            found[event.target] = changed(found[event.target], event)
    return list(found.values())


def changed(past: Past, event: Logged) -> Past:
    """Return `past` as `event`, which is about it, leaves it: once it was deleted, as it is."""
    if past.deleted is not None or isinstance(event, Message):
        return past
    if isinstance(event, Deleted):
        return replace(past, text="", deleted=event.date)
    return replace(past, text=event.text, rendered=event.rendered, edited=event.date)


def identity(event: Logged) -> tuple[object, ...]:
    """What tells `event` from another one at the same offset; its text may have been erased."""
    return type(event), event.sender, event.id, event.date


def is_about(event: Logged, offset: int) -> bool:
    """Whether `event` is the message at `offset`, or has changed it."""
    return (event.offset if isinstance(event, Message) else event.target) == offset


def erased(event: Logged) -> Logged:
    """Return `event` without its text, which was deleted."""
    return event if isinstance(event, Deleted) else replace(event, text="")


def page(pasts: Sequence[Past], *, before: int | None, after: int | None, limit: int) -> tuple[list[Past], bool]:
    """Cut from `pasts`, which are in order, the first `limit` after an offset, else the last; below `before` if given.

    Returns also whether there are more in that direction.
    """
    found = [past for past in pasts if (before is None or past.offset < before) and (after is None or past.offset > after)]
    return found[:limit] if after is not None else found[-limit:], len(found) > limit
