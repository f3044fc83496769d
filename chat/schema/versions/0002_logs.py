"""Each channel's log has a name of its own, and a taken channel knows the boot of the machine in which it was taken.

A channel that is taken now was numbered by a version that wrote nothing down as it went, and its log can only begin anew.
"""

import secrets

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0002"
down_revision = "0001"


def upgrade(op: Operations) -> None:
    for name in ("log", "boot"):
        op.add_column("chat_channels", sa.Column(name, sa.String, nullable=False, server_default=""))
    channels = sa.table("chat_channels", *map(sa.column, ("id", "epoch", "log", "last_offset", "taken", "closed_at")))
    op.execute(channels.update().values(log=channels.c.epoch))
    is_taken = sa.select(channels.c.id).where(channels.c.taken, channels.c.closed_at.is_(None))
    for id in op.get_bind().scalars(is_taken).all():
        op.execute(channels.update().where(channels.c.id == id).values(epoch=secrets.token_hex(8), last_offset=0))
