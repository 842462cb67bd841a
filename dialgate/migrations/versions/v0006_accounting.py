"""What RADIUS accounting servers are told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table, and find new records quickly."""
    op.create_index("call_records_by_storing", "call_records", ["stored_at"])
    op.create_table(
        "accounting",
        sa.Column("authenticator", sa.String(64), primary_key=True),
        sa.Column("record", sa.LargeBinary(16), primary_key=True),
        sa.Column("call", sa.LargeBinary(16), nullable=False),
        sa.Column("agent", sa.String(64), nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("made_at", sa.Double, nullable=False),
        sa.Column("entered_at", sa.Double, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("worker", sa.LargeBinary(16), nullable=False),
        sa.Column("sendings", sa.Integer, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False),
    )
    op.create_index("accounting_by_call", "accounting", ["authenticator", "call"])
    op.create_index(
        "accounting_due",
        "accounting",
        ["authenticator", "due_at"],
        sqlite_where=sa.text("NOT done"),
        postgresql_where=sa.text("NOT done"),
    )
