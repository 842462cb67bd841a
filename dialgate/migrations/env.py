"""Run migrations on the connection that `dialgate.migrations` was given; Alembic loads this file.

The transaction is the caller's, so nothing is committed here.
"""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
