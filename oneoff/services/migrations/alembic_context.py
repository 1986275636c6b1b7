"""Run the project's env.py inside Alembic: on a given connection, or offline to show the SQL.

Alembic has no function that runs given steps on a given connection. So this module does what
Alembic's own commands do: it installs an `EnvironmentContext` as the process-wide `alembic.context`
and executes env.py, which calls `oneoff.run_env` (in `env`). `run_env` finds the connection and the
options in `config.attributes`. Alembic gets the steps from the callback `fn`, which
`context.run_migrations` calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import wraps
from io import StringIO
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep

from oneoff.core.errors import ConfigurationError
from oneoff.services.migrations.drops import describe_drops
from oneoff.services.migrations.env import CONFIGURE_OPTIONS
from oneoff.services.migrations.history import History
from oneoff.utils.text import first_line

if TYPE_CHECKING:
    from sqlalchemy import Connection

_Steps = Callable[[Any, MigrationContext], Iterable[RevisionStep]]

# An asyncio.Lock can be used in one event loop only, so each loop has its own.
_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


@asynccontextmanager
async def exclusive_alembic() -> AsyncIterator[None]:
    """Wait until no other task uses Alembic: its context is global to the process."""
    async with _locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        yield


def run_online(connection: Connection, history: History, steps: _Steps, **options: Any) -> None:
    """Run env.py on a connection.

    Args:
        connection: A connection that is not in a transaction, if steps are to be committed.
        history: The revisions, and the folder with env.py.
        steps: Called with the database's revisions and Alembic's context; returns the steps to run.
        **options: Other options for `context.configure`.
    """
    _run_env_py(history, {"connection": connection, **options}, fn=steps)


class StepSQL(NamedTuple):
    """The statements of one step.

    Attributes:
        step: The step.
        sql: The statements as Alembic writes them, with BEGIN and COMMIT.
        problem: Why they can't be shown completely; empty if they can.
    """

    step: RevisionStep
    sql: str
    problem: str

    @property
    def drops(self) -> str:
        """The statements that drop something, "nothing", or "unknown: " and the reason."""
        return f"unknown: {self.problem}" if self.problem else describe_drops(self.sql)


def render_offline(
    history: History, dialect: str, current: tuple[str, ...], steps: Iterable[RevisionStep]
) -> list[StepSQL]:
    """Return the SQL of steps without connecting to a database.

    Args:
        history: The revisions, and the folder with env.py.
        dialect: "postgresql" or "sqlite".
        current: The database's revisions.
        steps: The steps, in the order in which they would run.
    """
    buffer = StringIO()
    shown: list[StepSQL] = []

    # Alembic runs each step before it asks the generator for the next. So the text that is added to
    # the buffer between two steps belongs to the first of them.
    def one_by_one(_heads: Any, context: MigrationContext) -> Iterator[RevisionStep]:
        for step in steps:
            problems: list[str] = []
            _catch_errors(step, context, problems)
            begin = buffer.tell()
            yield step
            shown.append(StepSQL(step, buffer.getvalue()[begin:], "".join(problems)))

    options = {
        "dialect_name": dialect,
        "dialect_opts": {"paramstyle": "named"},  # other styles double every % in the text
        "literal_binds": True,
        "output_buffer": buffer,
    }
    _run_env_py(history, options, fn=one_by_one, as_sql=True, starting_rev=current or None)
    return shown


def _catch_errors(step: RevisionStep, context: MigrationContext, problems: list[str]) -> None:
    """Write an error of the revision into the SQL, so that the other revisions are still shown.

    A revision that reads rows fails here, because there is no database connection.
    """
    migrate = step.migration_fn

    @wraps(migrate)  # Alembic prints the function's name
    def migrate_or_report(**arguments: Any) -> None:
        try:
            migrate(**arguments)
        except Exception as exc:  # noqa: BLE001 - after any error the other revisions are shown
            problem = first_line(exc)
            problems.append(problem)
            context.impl.static_output(f"-- incomplete: the revision needs the database: {problem}")

    step.migration_fn = migrate_or_report


def _run_env_py(history: History, options: dict[str, Any], **of_environment: Any) -> None:
    """Execute the project's env.py.

    Args:
        history: The folder with env.py.
        options: What `run_env` passes to `context.configure`.
        **of_environment: Options of `EnvironmentContext`.
    """
    history.config.attributes[CONFIGURE_OPTIONS] = options
    environment = EnvironmentContext(history.config, history.scripts, **of_environment)
    configured = _let_only_run_env_configure(environment)
    with environment:
        history.scripts.run_env()
    if not configured:
        raise _no_run_env("it never calls run_env, so nothing would be migrated")


def _let_only_run_env_configure(environment: EnvironmentContext) -> list[bool]:
    """Refuse an env.py that configures Alembic itself; return a list that `run_env` adds to.

    With its own engine it would migrate whatever database that engine reaches, and not the one that
    the run was checked and recorded for.
    """
    configured: list[bool] = []
    configure = environment.configure

    def configure_for_run_env(*args: Any, **options: Any) -> None:
        if not options.pop(CONFIGURE_OPTIONS, False):
            raise _no_run_env("it calls context.configure itself, perhaps with its own engine")
        configure(*args, **options)
        configured.append(True)

    # The functions of the module `alembic.context` call the methods of the instance.
    environment.configure = configure_for_run_env  # type: ignore[method-assign]
    return configured


def _no_run_env(why: str) -> ConfigurationError:
    return ConfigurationError(
        "migrations/env.py does not use run_env",
        why=why,
        try_="replace its content: from oneoff import run_env; run_env(Base.metadata)",
        code="no-run-env",
    )
