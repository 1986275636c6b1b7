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

if TYPE_CHECKING:
    from sqlalchemy import MetaData

MARK = "oneoff"
"""Key of `config.attributes`, and option of `context.configure`: the call comes from `run_env`."""

NameFilter = Callable[[str | None, Any, Any], bool]

_DECIDED_BY_ONEOFF = frozenset(
    "connection url dialect_name dialect_opts as_sql fn dont_mutate target_metadata starting_rev "
    "transaction_per_migration transactional_ddl literal_binds output_buffer".split()
)
"""Options of `context.configure` that would have no effect."""


def run_env(
    metadata: MetaData | Sequence[MetaData],
    *,
    include_name: NameFilter | None = None,
    **options: Any,
) -> None:
    """Run the migrations on the connection and in the transactions of the running command.

    Unlike the env.py that Alembic generates, it needs no URL, event loop or logging setup.

    Args:
        metadata: The metadata of the models. oneoff compares the database with it.
        include_name: As in Alembic. The framework's own tables are never included.
        **options: Other options of Alembic's `context.configure`, such as `include_object`,
            `version_table`, `render_item`, `compare_server_default` or `render_as_batch`.

    Raises:
        ConfigurationError: An option is one that oneoff sets itself.
        alembic.util.CommandError: env.py was executed by the `alembic` command, which takes no lock
            and records no run.
    """
    if not context.config.attributes.get(MARK):
        message = (
            "the alembic command can't run these migrations, because they need a lock and a "
            "recorded run; use: python manage.py migrate"
        )
        raise CommandError(message)
    refused = sorted(_DECIDED_BY_ONEOFF & options.keys())
    if refused:
        raise ConfigurationError(
            f"run_env does not take the option {', '.join(refused)}",
            why="oneoff sets it itself",
            try_="remove it from migrations/env.py",
            code="bad-env-option",
        )
    own: dict[str, Any] = {MARK: True, "include_name": include_name}
    context.configure(target_metadata=metadata, **options | own)
    context.run_migrations()
