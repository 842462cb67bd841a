"""Tries that are being checked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column; of tries from before nobody knows, so none counts as open."""
    with op.batch_alter_table("tries") as tries:
        tries.add_column(sa.Column("open", sa.Integer, nullable=False, server_default="0"))
