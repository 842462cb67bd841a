"""Tries and lock-outs, one-time codes, and what an operator lays down about a user."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables; passwords that are there count as set when their users were changed last."""
    with op.batch_alter_table("users") as users:
        for column in ("password_s", "valid_from_s", "valid_until_s"):
            users.add_column(sa.Column(column, sa.BigInteger, nullable=False, server_default="0"))
        users.add_column(sa.Column("roles", sa.Text, nullable=False, server_default=""))
        users.add_column(
            sa.Column("must_change", sa.Boolean, nullable=False, server_default=sa.false())
        )
    op.execute("UPDATE users SET password_s = changed_s")
    op.create_table(
        "tries",
        sa.Column("user", sa.String(1024), primary_key=True),
        sa.Column("place", sa.String(256), primary_key=True),
        sa.Column("charged", sa.BigInteger, nullable=False),
        sa.Column("counted", sa.Integer, nullable=False),
        sa.Column("locked_until_s", sa.BigInteger, nullable=False),
        sa.Column("last_s", sa.BigInteger, nullable=False),
        sa.Column("admitted_s", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_tries_last_s", "tries", ["last_s"])
    op.create_table(
        "tokens",
        sa.Column("name", sa.String(256), primary_key=True),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("digits", sa.Integer, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("drift", sa.Integer, nullable=False),
        sa.Column("stray", sa.BigInteger, nullable=False),
        sa.Column("created_s", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("name", sa.String(256), primary_key=True),
        sa.Column("digest", sa.LargeBinary, primary_key=True),
    )
