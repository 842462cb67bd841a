"""Migrations: what they make is what the tables' descriptions say, on each kind of database."""

from __future__ import annotations

import re
from typing import Any, Final

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from dialgate.database import make_engine, parse_url
from dialgate.migrations import chain
from dialgate.passwords import Argon2
from dialgate.state import open_state, reading, upgrade_state, writing
from dialgate.tables import META, SCHEMA, SECRETS, metadata
from dialgate.users import find_user

FIRST: Final = sa.MetaData()
"""The tables from before there were migrations."""
for _table in (META, SECRETS):
    _table.to_metadata(FIRST)
FIRST_USERS: Final = sa.Table(
    "users",
    FIRST,
    sa.Column("name", sa.String(256), primary_key=True),
    sa.Column("password_hash", sa.Text, nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("created_s", sa.BigInteger, nullable=False),
    sa.Column("changed_s", sa.BigInteger, nullable=False),
)

ANN: Final = {
    "name": "ann",
    "password_hash": Argon2(memory_kib=8, passes=1).hash(b"secret"),
    "disabled": False,
    "created_s": 1,
    "changed_s": 2,
}


def differences(connection: sa.Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))


def test_the_migrations_are_one_chain_of_numbers_and_the_newest_is_this_versions() -> None:
    revisions = chain()

    assert revisions == [f"{number:04}" for number in range(1, len(revisions) + 1)]
    assert revisions[-1] == SCHEMA
    assert re.fullmatch(r"\d{4}", SCHEMA), "revisions are compared as text"


async def test_a_new_state_has_the_tables_that_are_described(state_url: str) -> None:
    engine = await open_state(state_url)

    async with reading(engine) as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_an_empty_database_gets_all_tables(state_url: str) -> None:
    assert await upgrade_state(state_url) == ("", SCHEMA)
    assert await upgrade_state(state_url) == (SCHEMA, SCHEMA)

    await (await open_state(state_url)).dispose()


async def test_a_state_from_before_the_migrations_keeps_its_users(state_url: str) -> None:
    before = make_engine(parse_url(state_url))
    async with writing(before) as connection:
        await connection.run_sync(FIRST.create_all)
        rows = [{"key": "product", "value": "dialgate"}, {"key": "schema", "value": "1"}]
        await connection.execute(sa.insert(META), rows)
        await connection.execute(sa.insert(FIRST_USERS), [ANN])
    await before.dispose()

    assert await upgrade_state(state_url) == ("0001", SCHEMA)

    engine = await open_state(state_url)
    ann = await find_user(engine, "ann")
    async with reading(engine) as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()
    assert ann is not None
    assert ann.password_hash == ANN["password_hash"]
    assert (ann.roles, ann.must_change, ann.valid_from, ann.valid_until) == ((), False, None, None)
    assert ann.password_set == ann.changed
