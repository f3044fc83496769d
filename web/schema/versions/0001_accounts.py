"""Accounts; those of the first version are taken over from its table `accounts`, which had no version."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None


def upgrade(op: Operations) -> None:
    accounts = op.create_table(
        "chat_accounts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("username", sa.String, nullable=False),
        sa.Column("key", sa.String, nullable=False, unique=True),
        sa.Column("password_hash", sa.String, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    take_over(op, accounts)


def take_over(op: Operations, accounts: sa.Table) -> None:
    """With their ids, which stand in cookies; somebody else's `accounts` has other columns."""
    inspector = sa.inspect(op.get_bind())
    names = accounts.columns.keys()
    if not inspector.has_table("accounts") or {found["name"] for found in inspector.get_columns("accounts")} != set(names):
        return
    old = sa.table("accounts", *map(sa.column, names))
    op.execute(accounts.insert().from_select(names, sa.select(old)))
    if op.get_bind().dialect.name == "postgresql":  # its sequence does not see ids that are given
        highest = sa.select(sa.func.coalesce(sa.func.max(accounts.c.id), 1)).scalar_subquery()
        op.execute(sa.select(sa.func.setval(sa.func.pg_get_serial_sequence("chat_accounts", "id"), highest)))
    op.drop_table("accounts")
