"""The tables of the cluster's SQL state, as statements of this version see them.

Only descriptions: how a database comes to have them is in `dialgate.migrations`, and a test holds
the two against each other on SQLite and PostgreSQL.  Whoever needs a table adds it here, with a
migration of its own.

Times are whole seconds since 1970 where a name ends in `_s`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

from dialgate.wire.limits import (
    HPORT_CHARS_MAX,
    ID_BYTES,
    NAME_CHARS_MAX,
    USERNAME_BYTES_MAX,
)

__all__ = [
    "ACCOUNTING",
    "AGENT_TURNS",
    "BASELINE",
    "CALL_RECORDS",
    "META",
    "RECOVERY_CODES",
    "SCHEMA",
    "SECRETS",
    "TOKENS",
    "TRIES",
    "USERS",
    "USER_SESSIONS",
    "VERSION_TABLE",
    "metadata",
]

SCHEMA: Final = "0008"
"""Revision of these tables: the newest migration's.  Four digits, so that they compare."""
BASELINE: Final = "0001"
"""Revision of databases from before there were migrations."""
VERSION_TABLE: Final = "alembic_version"
"""Where Alembic notes the revision, in one row."""

metadata: Final = MetaData()
"""All of them."""

META: Final = Table(
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
"""Whose database it is: `product` is "dialgate"."""
USERS: Final = Table(
    "users",
    metadata,
    Column("name", String(USERNAME_BYTES_MAX), primary_key=True),
    Column("password_hash", Text, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created_s", BigInteger, nullable=False),
    Column("changed_s", BigInteger, nullable=False),
    Column("password_s", BigInteger, nullable=False),
    Column("roles", Text, nullable=False),
    Column("valid_from_s", BigInteger, nullable=False),
    Column("valid_until_s", BigInteger, nullable=False),
    Column("must_change", Boolean, nullable=False),
    Column("copied_until_s", BigInteger),
)
"""Local users (`dialgate.users`); `roles` are apart by spaces, and a date that is 0 is none.
`copied_until_s`: until when the copy counts that he came with; null: he is this state's own."""
TRIES: Final = Table(
    "tries",
    metadata,
    Column("user", String(1024), primary_key=True),
    Column("place", String(256), primary_key=True),
    Column("charged", BigInteger, nullable=False),
    Column("counted", Integer, nullable=False),
    Column("locked_until_s", BigInteger, nullable=False),
    Column("last_s", BigInteger, nullable=False, index=True),
    Column("admitted_s", BigInteger, nullable=False),
    Column("open", Integer, nullable=False),
)
"""Tries of a user (`dialgate.tries.key_of`) at a place, and as a whole where that is ""."""
TOKENS: Final = Table(
    "tokens",
    metadata,
    Column("name", String(USERNAME_BYTES_MAX), primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("digits", Integer, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("drift", Integer, nullable=False),
    Column("stray", BigInteger, nullable=False),
    Column("created_s", BigInteger, nullable=False),
)
"""Users' tokens (`dialgate.one_time_codes`); `secret` is sealed with the pool's key."""
RECOVERY_CODES: Final = Table(
    "recovery_codes",
    metadata,
    Column("name", String(USERNAME_BYTES_MAX), primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
)
"""Recovery codes that are not used up yet, as digests under the pool's key."""
USER_SESSIONS: Final = Table(
    "user_sessions",
    metadata,
    Column("agent", String(NAME_CHARS_MAX), primary_key=True),
    Column("hport", String(HPORT_CHARS_MAX), primary_key=True),
    Column("call", LargeBinary(ID_BYTES), nullable=False),
    Column("user", String(1024), nullable=False, index=True),
    Column("until_s", BigInteger, nullable=False),
)
"""The session last admitted at each port (`dialgate.user_sessions`)."""
SECRETS: Final = Table(
    "secrets",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
"""What the workers of a pool share and make by themselves (`dialgate.state.shared_secret`)."""
CALL_RECORDS: Final = Table(
    "call_records",
    metadata,
    Column("record", LargeBinary(ID_BYTES), primary_key=True),
    Column("call", LargeBinary(ID_BYTES), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("made_at", Double, nullable=False),
    Column("stored_at", Double, nullable=False),
    Column("agent", String(NAME_CHARS_MAX), nullable=False),
    Column("site", String(NAME_CHARS_MAX), nullable=False),
    Column("hport", String(HPORT_CHARS_MAX), nullable=False),
    Column("username", String(USERNAME_BYTES_MAX), nullable=False),
    Column("facts", Text, nullable=False),
    Index("call_records_by_call", "call"),
    Index("call_records_by_time", "made_at"),
    Index("call_records_by_storing", "stored_at"),
    Index(
        "call_records_one_start_one_stop",
        "call",
        "kind",
        unique=True,
        sqlite_where=text("kind <> 'interim'"),
        postgresql_where=text("kind <> 'interim'"),
    ),
)
"""Records of calls (`dialgate.calls`): never changed, so that each is exactly what its agent sent.

Times are seconds since 1970: when the agent made the record, when it was stored.  `username` is of
the call's last dialog, `facts` the whole record as JSON."""
AGENT_TURNS: Final = Table(
    "agent_turns",
    metadata,
    Column("id", LargeBinary(ID_BYTES), primary_key=True),
    Column("agent", String(NAME_CHARS_MAX), nullable=False),
    Column("started", Boolean, nullable=False),
    Column("at", Double, nullable=False),
    Column("stored_at", Double, nullable=False),
    Index("agent_turns_by_storing", "stored_at"),
)
"""When agents' processes started, and ended in order (`dialgate.agent_turns`)."""


def _where(more: str) -> Mapping[str, Any]:
    """Return which rows of `ACCOUNTING` are in an index: those that are to be told, and `more`.

    SQLite takes such an index for a query that says it in the same words.
    """
    return {"sqlite_where": text(f"done = 0{more}"), "postgresql_where": text(f"NOT done{more}")}


ACCOUNTING: Final = Table(
    "accounting",
    metadata,
    Column("authenticator", String(NAME_CHARS_MAX), primary_key=True),
    Column("record", LargeBinary(ID_BYTES), primary_key=True),
    Column("call", LargeBinary(ID_BYTES), nullable=False),
    Column("agent", String(NAME_CHARS_MAX), nullable=False),
    Column("turn", Integer, nullable=False),
    Column("made_at", Double, nullable=False),
    Column("entered_at", Double, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("worker", LargeBinary(ID_BYTES), nullable=False),
    Column("sendings", Integer, nullable=False),
    Column("done", Boolean, nullable=False),
    Index("accounting_waiting", "authenticator", "made_at", **_where("")),
    Index("accounting_of_calls", "authenticator", "call", "made_at", **_where("")),
    Index("accounting_turns", "authenticator", "agent", "made_at", **_where(" AND turn <> 1")),
)
"""What RADIUS accounting servers are told (`auth_workers.radius.ledger`).

A row a record and table `[authenticators.NAME]`.  `due_at` is when a worker may claim it (next), in
seconds since 1970, so while one has it the end of its lease; `worker` is who claimed it last."""
