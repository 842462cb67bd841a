"""Users that came with a signed copy, and until when it counts (`dialgate.user_sync`)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; who is there is the state's own."""
    with op.batch_alter_table("users") as users:
        users.add_column(sa.Column("copied_until_s", sa.BigInteger))
