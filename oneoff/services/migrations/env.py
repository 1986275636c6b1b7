"""Provide `run_env`, which a project's `migrations/env.py` calls.

The whole file is these three lines:

    from oneoff import run_env
    from app.models import Base
    run_env(Base.metadata)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from alembic import context
from alembic.util import CommandError

from oneoff.core.errors import ConfigurationError
from oneoff.database.tables import PREFIX

if TYPE_CHECKING:
    from sqlalchemy import MetaData

CONFIGURE_OPTIONS = "oneoff"
"""Key of `config.attributes`: the options that `alembic_context` adds to `context.configure`."""

_DECIDED_BY_ONEOFF = frozenset(
    "connection url dialect_name dialect_opts as_sql fn dont_mutate target_metadata starting_rev "
    "version_table version_table_schema version_table_pk transaction_per_migration "
    "transactional_ddl literal_binds output_buffer".split()
)
"""Options of `context.configure` that would have no effect, or change where revisions are read."""

_NameFilter = Callable[[str | None, Any, Any], bool]


def run_env(
    metadata: MetaData | Sequence[MetaData],
    *,
    include_name: _NameFilter | None = None,
    **options: Any,
) -> None:
    """Run the migrations on the connection and in the transactions of the running command.

    Unlike the env.py that Alembic generates, it needs no URL, event loop or logging setup.

    Args:
        metadata: The metadata of the models. oneoff compares the database with it.
        include_name: As in Alembic. The framework's own tables are never included.
        **options: Other options of Alembic's `context.configure`, such as `include_object`,
            `render_item`, `compare_server_default` or `render_as_batch`.

    Raises:
        ConfigurationError: An option is one that oneoff sets itself.
        alembic.util.CommandError: env.py was executed by the `alembic` command, which takes no lock
            and records no run.
    """
    ours = context.config.attributes.get(CONFIGURE_OPTIONS)
    if ours is None:
        message = (
            "the alembic command can't run these migrations, because they need a lock and a "
            "recorded run; use: python manage.py migrate"
        )
        raise CommandError(message)
    refused = sorted(_DECIDED_BY_ONEOFF & options.keys())
    if refused:
        raise ConfigurationError(
            f"run_env does not take the option {', '.join(refused)}",
            why="oneoff sets it itself: it reads and stores revisions in the table alembic_version",
            try_="remove it from migrations/env.py",
            code="bad-env-option",
        )
    both = [ours.get("on_version_apply", ()), options.pop("on_version_apply", ())]
    context.configure(
        target_metadata=metadata,
        include_name=_without_framework(include_name),
        # One transaction for each revision: CREATE INDEX CONCURRENTLY must be able to leave it,
        # and revisions that succeeded stay when a later one fails.
        transaction_per_migration=True,
        # Alembic assumes that SQLite can't roll back DDL. It can, because our engine sends a real
        # BEGIN, which Python's sqlite3 does not do before DDL.
        transactional_ddl=True,
        **ours
        | options
        | {
            "on_version_apply": [each for given in both for each in _as_tuple(given)],
            CONFIGURE_OPTIONS: True,
        },
    )
    with context.begin_transaction():
        context.run_migrations()


def _as_tuple(given: Any) -> tuple[Any, ...]:
    return (given,) if callable(given) else tuple(given)


def _without_framework(wanted: _NameFilter | None) -> _NameFilter:
    def include(name: str | None, kind: Any, parents: Any) -> bool:
        if kind == "table" and (name or "").startswith(PREFIX):
            return False
        return wanted is None or wanted(name, kind, parents)

    return include
