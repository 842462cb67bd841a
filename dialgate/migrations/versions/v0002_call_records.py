"""Records of calls."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "call_records",
        sa.Column("record", sa.LargeBinary(16), primary_key=True),
        sa.Column("call", sa.LargeBinary(16), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("made_at", sa.Double, nullable=False),
        sa.Column("stored_at", sa.Double, nullable=False),
        sa.Column("agent", sa.String(64), nullable=False),
        sa.Column("site", sa.String(64), nullable=False),
        sa.Column("hport", sa.String(128), nullable=False),
        sa.Column("username", sa.String(256), nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
    )
    op.create_index("call_records_by_call", "call_records", ["call"])
    op.create_index("call_records_by_time", "call_records", ["made_at"])
    op.create_index(
        "call_records_one_start_one_stop",
        "call_records",
        ["call", "kind"],
        unique=True,
        sqlite_where=sa.text("kind <> 'interim'"),
        postgresql_where=sa.text("kind <> 'interim'"),
    )
