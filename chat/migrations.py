"""Schemas: tables with a linear history, each with a version table of its own in a database that others may use too.

Alembic by its parts, without its command and an env.py: those keep what they work on in globals of the process, and the
application around us may be in the middle of its own migrations, or hold two chats that open in two threads.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from chat.errors import DatabaseAhead, DatabaseBehind

UPGRADE_LOCK: Final = 0x63686174  # "chat": an advisory lock of PostgreSQL


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one schema stands in one database."""

    schema: str
    found: str | None
    """The revision that the database has; None where there is nothing yet."""
    wanted: str
    is_known: bool
    """Whether `found` is a revision of this version of the code."""

    @property
    def is_current(self) -> bool:
        """Whether there is nothing to do."""
        return self.found == self.wanted

    def __str__(self) -> str:
        return f"{self.schema}: {self.found or 'none'}, wanted {self.wanted}"


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of one package, and the scripts that make them."""

    name: str
    """Begins the names of its tables; that of the version table is `{name}_version`."""
    folder: Path
    """Holds `versions/`, whose scripts define `revision`, `down_revision` and `upgrade(op)`, and import nothing of ours."""

    def standing(self, connection: Connection) -> Standing:
        """Tell where it stands.  Blocks; changes nothing."""
        scripts = ScriptDirectory(str(self.folder))
        found = self._context(connection).get_current_heads()
        known = {script.revision for script in scripts.walk_revisions()}
        return Standing(self.name, ", ".join(found) or None, scripts.get_heads()[0], known.issuperset(found))

    def upgrade(self, connection: Connection) -> None:
        """Run the scripts that are wanting, in the transaction of `connection`.  Blocks."""
        scripts = ScriptDirectory(str(self.folder))

        def steps(found: Sequence[str], _context: MigrationContext) -> Iterable[RevisionStep]:
            return scripts._upgrade_revs("head", found[0] if found else None)  # type: ignore[arg-type]  # None is the base

        context = self._context(connection, fn=steps)
        context.run_migrations(op=Operations(context))

    def _context(self, connection: Connection, **more: object) -> MigrationContext:
        opts = {"version_table": f"{self.name}_version", "transactional_ddl": True, **more}
        return MigrationContext.configure(connection, opts=opts)


def standings(connection: Connection, schemas: Iterable[Schema]) -> list[Standing]:
    """Tell where each stands.  Blocks; changes nothing."""
    return [schema.standing(connection) for schema in schemas]


def check(connection: Connection, schemas: Iterable[Schema]) -> None:
    """See that all are as this version of the code wants them.  Blocks.  Raises: DatabaseBehind, DatabaseAhead."""
    found = standings(connection, schemas)
    _refuse_the_unknown(found)
    if behind := [standing for standing in found if not standing.is_current]:
        raise DatabaseBehind("; ".join(map(str, behind)))


def upgrade(connection: Connection, schemas: Sequence[Schema]) -> list[Standing]:
    """Bring all to what is wanted, and return where they stood.  Blocks.  Raises: DatabaseAhead, with nothing done.

    All in the one transaction of `connection`: when it does not come to its end, nothing has changed.
    """
    if connection.dialect.name == "postgresql":  # SQLite's BEGIN IMMEDIATE is such a lock
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
    found = standings(connection, schemas)
    _refuse_the_unknown(found)
    for schema, standing in zip(schemas, found, strict=True):
        if not standing.is_current:
            schema.upgrade(connection)
    return found


def _refuse_the_unknown(found: Iterable[Standing]) -> None:
    if ahead := [standing for standing in found if not standing.is_known]:
        raise DatabaseAhead("; ".join(map(str, ahead)))
