"""How a database comes to have the tables of `dialgate.tables`: Alembic's migrations, one a file.

`versions/` is one chain without branches.  Each migration is written out with `op`, for it must
stay true when the tables have moved on, and runs on SQLite and PostgreSQL.  To add tables: a file
whose `down_revision` is the newest's `revision`, and the tables and `SCHEMA` in `dialgate.tables`;
`tests/dialgate/test_migrations.py` compares the two.  A column is added or changed within
`op.batch_alter_table`, which SQLite needs.

There is no way back: a state is restored from its copy, not migrated down.  Invariant: one upgrade
is one transaction, so a database is never between two revisions.  (Alembic takes long to load:
import this only when there is something to migrate.)
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from dialgate.tables import BASELINE, VERSION_TABLE

__all__ = ["bring_up_to_date", "chain"]


def bring_up_to_date(connection: Connection) -> None:
    """Give the database the newest tables, an empty one too, in the connection's transaction."""
    config = _config(connection)
    tables = inspect(connection).get_table_names()
    if tables and VERSION_TABLE not in tables:
        command.stamp(config, BASELINE)
    command.upgrade(config, "head")


def chain() -> list[str]:
    """Return every revision there is, oldest first."""
    scripts = ScriptDirectory.from_config(_config(None))
    return [script.revision for script in scripts.walk_revisions()][::-1]


def _config(connection: Connection | None) -> Config:
    config = Config(attributes={"connection": connection})
    # Alembic reads "%" as the beginning of a substitution.
    place = str(Path(__file__).parent).replace("%", "%%")
    config.set_main_option("script_location", place)
    config.set_main_option("path_separator", "os")
    return config
