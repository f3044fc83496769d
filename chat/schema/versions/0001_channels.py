"""Channels; those of the first version are taken over from its table `channels`, which had no version."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None


def upgrade(op: Operations) -> None:
    channels = op.create_table(
        "chat_channels",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("epoch", sa.String, nullable=False),
        sa.Column("last_offset", sa.BigInteger, nullable=False),
        sa.Column("taken", sa.Boolean, nullable=False),
        sa.Column("created_by", sa.String, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True)),
    )
    take_over(op, channels)
    op.create_index("chat_channels_name", "chat_channels", ["name"])
    is_open = sa.text("closed_at IS NULL")
    op.create_index(
        "chat_channels_open", "chat_channels", ["name"], unique=True, sqlite_where=is_open, postgresql_where=is_open
    )


def take_over(op: Operations, channels: sa.Table) -> None:
    """Copied, not renamed, so that all databases look alike; somebody else's `channels` has other columns."""
    inspector = sa.inspect(op.get_bind())
    if not inspector.has_table("channels"):
        return
    if {found["name"] for found in inspector.get_columns("channels")} != set(channels.columns.keys()):
        return
    names = sorted(set(channels.columns.keys()) - {"id"})  # to which nothing refers
    old = sa.table("channels", *map(sa.column, names))
    op.execute(channels.insert().from_select(names, sa.select(old)))
    op.drop_table("channels")
