"""When agents started and stopped."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make the table, and find an agent's turns among what is to be told."""
    op.create_table(
        "agent_turns",
        sa.Column("id", sa.LargeBinary(16), primary_key=True),
        sa.Column("agent", sa.String(64), nullable=False),
        sa.Column("started", sa.Boolean, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("stored_at", sa.Double, nullable=False),
    )
    op.create_index("agent_turns_by_storing", "agent_turns", ["stored_at"])
    op.create_index("accounting_by_agent", "accounting", ["authenticator", "agent", "turn"])
