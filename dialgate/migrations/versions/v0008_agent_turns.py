"""When agents started and stopped; what is to be told, oldest first."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make the table; find the oldest rows to be told, and what they wait for.

    Indexes of all rows are of no use when a server was away for a day, and the one by `due_at`
    served nobody.
    """
    op.create_table(
        "agent_turns",
        sa.Column("id", sa.LargeBinary(16), primary_key=True),
        sa.Column("agent", sa.String(64), nullable=False),
        sa.Column("started", sa.Boolean, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("stored_at", sa.Double, nullable=False),
    )
    op.create_index("agent_turns_by_storing", "agent_turns", ["stored_at"])
    op.drop_index("accounting_due", "accounting")
    op.drop_index("accounting_by_call", "accounting")
    for name, column, more in (
        ("accounting_waiting", (), ""),
        ("accounting_of_calls", ("call",), ""),
        ("accounting_turns", ("agent",), " AND turn <> 1"),
    ):
        op.create_index(
            name,
            "accounting",
            ["authenticator", *column, "made_at"],
            sqlite_where=sa.text(f"done = 0{more}"),
            postgresql_where=sa.text(f"NOT done{more}"),
        )
