"""The log of every channel, how far users have read, and whom a message mentions."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0003"
down_revision = "0002"


def upgrade(op: Operations) -> None:
    op.create_table(
        "chat_log",
        sa.Column("log", sa.String, primary_key=True),
        sa.Column("offset", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("sender", sa.String, nullable=False),
        sa.Column("text", sa.String, nullable=False),
        sa.Column("date", sa.BigInteger, nullable=False),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("target", sa.BigInteger),
        sa.Column("rendered", sa.Boolean, nullable=False),
        sa.Column("edited", sa.BigInteger),
        sa.Column("deleted", sa.BigInteger),
        sqlite_with_rowid=False,
    )
    has_target = sa.text("target IS NOT NULL")
    op.create_index("chat_log_target", "chat_log", ["log", "target"], sqlite_where=has_target, postgresql_where=has_target)
    op.create_table(
        "chat_reads",
        sa.Column("log", sa.String, primary_key=True),
        sa.Column("username", sa.String, primary_key=True),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "chat_mentions",
        sa.Column("log", sa.String, primary_key=True),
        sa.Column("offset", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("source", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("username", sa.String, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("chat_mentions_user", "chat_mentions", ["log", "username", "offset"])
