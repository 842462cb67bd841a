"""Sessions of users, to be counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "user_sessions",
        sa.Column("agent", sa.String(64), primary_key=True),
        sa.Column("hport", sa.String(128), primary_key=True),
        sa.Column("call", sa.LargeBinary(16), nullable=False),
        sa.Column("user", sa.String(1024), nullable=False),
        sa.Column("until_s", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_user_sessions_user", "user_sessions", ["user"])
