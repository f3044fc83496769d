"""What the database has, by SQL of our own: a fault in how the server reads it must not hide one in what it wrote."""

from sqlalchemy import Engine, text

from tests.chaos.record import Event
from tests.chaos.verdict import Kept

EVENTS = text("""
    SELECT name, kind, "offset", chat_log.id, sender, target, text
    FROM chat_channels JOIN chat_log ON chat_log.log = chat_channels.log ORDER BY chat_log.log, "offset"
""")
LASTS = text("""
    SELECT name, max("offset") FROM chat_channels JOIN chat_log ON chat_log.log = chat_channels.log GROUP BY name
""")


def read(database: Engine) -> Kept:
    """Everything, by channel and in order."""
    kept: dict[str, list[Event]] = {}
    with database.connect() as connection:
        for name, kind, offset, id, sender, target, said in connection.execute(EVENTS):
            kept.setdefault(name, []).append(Event(kind, offset, id, sender, target or 0, said))
    return kept


def lasts(database: Engine) -> dict[str, int]:
    """The last offset of each channel."""
    with database.connect() as connection:
        return dict(connection.execute(LASTS).all())


def epochs(database: Engine) -> dict[str, str]:
    """The epoch of each channel."""
    with database.connect() as connection:
        return dict(connection.execute(text("SELECT name, epoch FROM chat_channels")).all())


def logs(database: Engine) -> dict[str, str]:
    """The name of each channel's log."""
    with database.connect() as connection:
        return dict(connection.execute(text("SELECT name, log FROM chat_channels")).all())
