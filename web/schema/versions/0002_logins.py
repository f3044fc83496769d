"""Logins, and what users call themselves."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0002"
down_revision = "0001"


def upgrade(op: Operations) -> None:
    op.add_column("chat_accounts", sa.Column("display_name", sa.String, nullable=False, server_default=""))
    op.add_column("chat_accounts", sa.Column("display_key", sa.String))
    op.create_index("chat_accounts_display_key", "chat_accounts", ["display_key"])
    op.create_table(
        "chat_logins",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("account", sa.Integer, sa.ForeignKey("chat_accounts.id"), nullable=False),
        sa.Column("sid", sa.String, nullable=False, unique=True),
        sa.Column("remember_hash", sa.String, unique=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("agent", sa.String, nullable=False),
    )
    op.create_index("chat_logins_account", "chat_logins", ["account"])
    op.create_index("chat_logins_seen_at", "chat_logins", ["seen_at"])
