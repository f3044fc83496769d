"""Logins that are kept by a hash, which ends those there are; accounts that can be disabled and get a new password."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0003"
down_revision = "0002"


def upgrade(op: Operations) -> None:
    op.add_column("chat_accounts", sa.Column("password_until", sa.DateTime(timezone=True)))
    op.add_column("chat_accounts", sa.Column("disabled_at", sa.DateTime(timezone=True)))
    op.drop_table("chat_logins")
    op.create_table(
        "chat_logins",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("account", sa.Integer, sa.ForeignKey("chat_accounts.id"), nullable=False),
        sa.Column("sid", sa.String, nullable=False, unique=True),
        sa.Column("token_hash", sa.String, nullable=False, unique=True),
        sa.Column("is_remembered", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("agent", sa.String, nullable=False),
    )
    op.create_index("chat_logins_account", "chat_logins", ["account"])
    op.create_index("chat_logins_created_at", "chat_logins", ["created_at"])
    op.create_index("chat_logins_seen_at", "chat_logins", ["seen_at"])
