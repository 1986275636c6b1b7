"""What a project's `migrations/env.py` calls.

It needs nothing more than these three lines:

    from oneoff.services.migrations.env import run_env
    from app.models import Base
    run_env(Base.metadata)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from alembic import context
from alembic.util import CommandError

from oneoff.database.tables import PREFIX

if TYPE_CHECKING:
    from sqlalchemy import MetaData

SETTINGS = "oneoff"
"""Where the running command leaves connection and options for `run_env`: config.attributes[...]."""

_NameFilter = Callable[[str | None, Any, Any], bool]


def run_env(
    metadata: MetaData | Sequence[MetaData],
    *,
    include_name: _NameFilter | None = None,
    **options: Any,
) -> None:
    """Run the migrations on the connection, and with the transactions, of the running command.

    It starts no event loop, configures no logging and never sees a URL.

    Args:
        metadata: What the models say the database should look like.
        include_name: As in Alembic; the framework's own tables are left out in any case.
        **options: More options of Alembic's `context.configure`, such as `include_object`,
            `render_item`, `compare_server_default` or `render_as_batch`.

    Raises:
        alembic.util.CommandError: The `alembic` command was used: it knows neither the lock nor
            the run record.
    """
    settings = context.config.attributes.get(SETTINGS)
    if settings is None:
        message = (
            "migrations run under a lock and leave a record, so the alembic command is not used "
            "for them; run: python manage.py migrate"
        )
        raise CommandError(message)
    context.configure(
        target_metadata=metadata,
        include_name=_without_framework(include_name),
        # One transaction a revision: CREATE INDEX CONCURRENTLY needs to step out of it, and what
        # went well stays when a later revision fails.
        transaction_per_migration=True,
        # SQLite's DDL is transactional too, with the real BEGIN our engine sends.
        transactional_ddl=True,
        **settings,
        **options,
    )
    with context.begin_transaction():
        context.run_migrations()


def _without_framework(wanted: _NameFilter | None) -> _NameFilter:
    def include(name: str | None, kind: Any, parents: Any) -> bool:
        if kind == "table" and (name or "").startswith(PREFIX):
            return False
        return wanted is None or wanted(name, kind, parents)

    return include
