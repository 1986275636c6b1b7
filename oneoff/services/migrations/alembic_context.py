"""Use Alembic with the options of the project's env.py: on a connection, or offline to show SQL.

Alembic has no function that runs given steps on a given connection. So this module does what
Alembic's own commands do, except that env.py was executed before (`env_file`), and its options are
in `History.env`. Alembic gets the steps from the callback `fn`, which `context.run_migrations`
calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import wraps
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, MigrationStep, RevisionStep

import oneoff.services.migrations.sqlite_rebuild  # noqa: F401 - Alembic uses its class then
from oneoff.services.migrations.drops import describe_drops
from oneoff.services.migrations.history import History, Revision
from oneoff.utils.text import first_line

if TYPE_CHECKING:
    from sqlalchemy import Connection

_Steps = Callable[[Any, MigrationContext], Iterable[MigrationStep]]

# An asyncio.Lock can be used in one event loop only, so each loop has its own.
_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


@asynccontextmanager
async def exclusive_alembic() -> AsyncIterator[None]:
    """Wait until no other task uses Alembic: its context is global to the process."""
    async with _locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        yield


def run_online(connection: Connection, history: History, steps: _Steps, **options: Any) -> None:
    """Run steps on a connection; called through `AsyncConnection.run_sync`.

    Args:
        connection: A connection that is not in a transaction, if steps are to be committed.
        history: The revisions, and the options of env.py, which must have been executed.
        steps: Called with the database's revisions and Alembic's context; returns the steps to run.
        **options: Other options for `context.configure`.
    """
    _run(history, {"connection": connection, **options}, fn=steps)


def run_online_together(
    connection: Connection,
    history: History,
    first: Callable[[], object],
    steps: _Steps,
    **options: Any,
) -> None:
    """Call `first` and run steps like `run_online`, but all in one transaction."""
    options |= {"connection": connection, "transaction_per_migration": False}
    _run(history, options, first, fn=steps)


def read_heads(connection: Connection, history: History) -> tuple[str, ...]:
    """Return the revisions of the database, from the version table that env.py names."""
    found: list[str] = []

    def no_steps(heads: Any, _context: MigrationContext) -> tuple[()]:
        found.extend(heads)
        return ()

    # Without dont_mutate Alembic would create its version table.
    run_online(connection, history, no_steps, dont_mutate=True)
    return tuple(sorted(found))


@contextmanager
def configured(
    connection: Connection, history: History, **options: Any
) -> Iterator[MigrationContext]:
    """Yield Alembic's context for a connection, in which nothing is migrated.

    Args:
        connection: The connection.
        history: The revisions, and the options of env.py, which must have been executed.
        **options: Other options for `context.configure`.
    """
    assert history.env is not None  # noqa: S101 - the caller has executed env.py
    configure: dict[str, Any] = history.env.configure | options
    with EnvironmentContext(history.config, history.scripts) as environment:
        environment.configure(connection=connection, **configure)
        yield environment.get_context()


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


class MigrationSQL(NamedTuple):
    """The SQL of several revisions, for a dry run.

    Attributes:
        text: All statements, in order.
        revisions: The revisions that the statements apply or undo, in order.
        problems: One line for each revision whose SQL can't be shown completely.
        drops: For each revision, its statements that drop something, or that this is unknown.
    """

    text: str
    revisions: list[Revision]
    problems: list[str]
    drops: list[str]


def render_sql(
    history: History, dialect: str, current: tuple[str, ...], steps: Iterable[RevisionStep]
) -> MigrationSQL:
    """Return the SQL of steps for a dry run; the arguments are those of `render_offline`."""
    shown = render_offline(history, dialect, current, steps)
    return MigrationSQL(
        "".join(one.sql for one in shown),
        [history.describe(one.step.revision.revision) for one in shown],
        [f"{one.step.revision.revision}: {one.problem}" for one in shown if one.problem],
        [one.drops for one in shown],
    )


def render_offline(
    history: History, dialect: str, current: tuple[str, ...], steps: Iterable[RevisionStep]
) -> list[StepSQL]:
    """Return the SQL of steps without connecting to a database.

    Args:
        history: The revisions, and the options of env.py, which must have been executed.
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
    _run(history, options, fn=one_by_one, as_sql=True, starting_rev=current or None)
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
        if _asks_for_script(step):
            problems.append("it asks for `as_sql`, so on a database it may do something else")

    step.migration_fn = migrate_or_report


def _asks_for_script(step: RevisionStep) -> bool:
    """Return whether the file of a revision asks whether Alembic writes a script."""
    with suppress(OSError, ValueError):  # ValueError: a compiled file
        return "as_sql" in Path(step.revision.path).read_text(encoding="utf-8")
    return False


def _run(
    history: History,
    options: dict[str, Any],
    first: Callable[[], object] = lambda: None,
    **of_environment: Any,
) -> None:
    """Let Alembic run migrations.

    Args:
        history: The revisions, and the options of env.py.
        options: Other options of `context.configure`.
        first: Called in the transaction of all revisions, if there is one.
        **of_environment: Options of `EnvironmentContext`.
    """
    assert history.env is not None  # noqa: S101 - the caller has executed env.py
    given = history.env.configure
    both = (options.get("on_version_apply", ()), given.get("on_version_apply") or ())
    callbacks = [one for each in both for one in ((each,) if callable(each) else each)]
    configure: dict[str, Any] = given | options | {"on_version_apply": callbacks}
    with EnvironmentContext(history.config, history.scripts, **of_environment) as environment:
        environment.configure(**configure)
        # What is shown is what a migration would do: a revision that asks must not be told that it
        # writes a script.
        environment.is_offline_mode = lambda: False  # type: ignore[method-assign]
        with environment.begin_transaction():  # it begins one only for `run_online_together`
            first()
            environment.run_migrations(**history.env.run_migrations)
