"""Execute the project's env.py, which decides how Alembic compares and where it stores revisions.

env.py runs in a thread of its own, so that it may call `asyncio.run`. It may call `oneoff.run_env`,
or be one that `alembic init` wrote: it connects, calls `context.configure`, and then
`context.run_migrations`. This module replaces these two functions.

- `configure` checks that env.py is connected to the database of the run, and stores its options in
  `History.env`.
- `run_migrations` lets the run do its work on its own connection, with these options, while env.py
  waits. So the lock, the limits and the guards of the run hold for any env.py.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from alembic.runtime.environment import EnvironmentContext
from sqlalchemy import text

from oneoff.core.errors import CommandError, ConfigurationError
from oneoff.database.tables import PREFIX
from oneoff.services.migrations.env import MARK, NameFilter
from oneoff.utils.concurrency import in_daemon_thread
from oneoff.utils.logging_state import LoggingState
from oneoff.utils.places import error_text, place_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from oneoff.services.migrations.history import EnvOptions, History

# Options that change what a run of migrations does. Alembic's own commands set them.
_REFUSED = frozenset("as_sql dont_mutate fn purge starting_rev".split())
# Options that have no effect in Alembic when there is a connection.
_WITHOUT_EFFECT = ("url", "dialect_name", "dialect_opts", "literal_binds", "output_buffer")
# Every role may ask this. Two servers were not started in the same microsecond.
_PLACE = text(
    "SELECT current_database(), extract(epoch FROM pg_postmaster_start_time())::text, "
    "coalesce(current_schema(), '')"
)


class Place(NamedTuple):
    """Where a connection leads.

    Attributes:
        dialect: "postgresql", "sqlite", ...
        database: What distinguishes the database from all others.
        schema: The schema in which tables are created.
    """

    dialect: str
    database: tuple[object, ...]
    schema: str = ""


def read_place(connection: Connection) -> Place:
    """Return where a connection leads. A transaction is open afterwards only if one was before."""
    outside, name = not connection.in_transaction(), connection.dialect.name
    try:
        if name == "postgresql":
            database, server, schema = connection.execute(_PLACE).one()
            return Place(name, (database, server), schema)
        if name == "sqlite":
            listed = connection.exec_driver_sql("PRAGMA database_list").all()
            path = next((row[2] for row in listed if row[1] == "main"), "")
            return Place(name, (os.path.realpath(path) if path else id(connection),))
        return Place(name, (connection.engine.url.render_as_string(hide_password=True),))
    finally:
        if outside:
            connection.rollback()


async def execute_env_file(
    history: History, place: Place, work: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Execute env.py, and store its options in `history.env`.

    Args:
        history: The folder with env.py.
        place: Where the connection of the run leads.
        work: Awaited when env.py calls `run_migrations`; without it, nothing is migrated.

    Raises:
        ConfigurationError: env.py uses another database, does not run the migrations, or does
            something that oneoff does not support. Nothing was migrated.
        CommandError: env.py failed, or the work did.
    """
    execution = _Execution(history, place, asyncio.get_running_loop(), waits=work is not None)
    thread = asyncio.ensure_future(in_daemon_thread(execution.execute))
    try:
        await asyncio.wait([thread, execution.asked], return_when=asyncio.FIRST_COMPLETED)
        if work is not None and execution.asked.done():
            await _answer(work, execution, thread)
        await thread
    except CommandError:
        raise
    except Exception as exc:
        raise execution.problem or _env_failed(history, exc) from exc
    finally:
        execution.stop()
        thread.cancel()
    if execution.problem:
        raise execution.problem
    if not execution.ran:
        raise _unsupported("never runs the migrations", code="env-runs-nothing")


async def _answer(
    work: Callable[[], Awaitable[None]], execution: _Execution, thread: asyncio.Future[None]
) -> None:
    """Do the work while env.py waits; after an error let env.py end first."""
    try:
        await work()
    except BaseException as exc:
        execution.answer.set_exception(exc)
        await asyncio.gather(thread, return_exceptions=True)
        raise
    execution.answer.set_result(None)


class _Execution:
    """One execution of env.py.

    Attributes:
        asked: Done when env.py has called `run_migrations`.
        answer: What the thread waits for then.
        problem: Why env.py is refused; it may have swallowed the error.
        ran: Whether env.py has called `run_migrations`.
    """

    def __init__(
        self, history: History, place: Place, loop: asyncio.AbstractEventLoop, *, waits: bool
    ) -> None:
        self.asked = loop.create_future()
        self.answer: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.problem: ConfigurationError | None = None
        self.ran = False
        self._history = history
        self._place = place
        self._loop = loop
        self._waits = waits
        self._connection: Connection | None = None
        self._options: dict[str, Any] | None = None
        self._environment = EnvironmentContext(
            history.config, history.scripts, destination_rev="heads"
        )
        self._configure = self._environment.configure
        # The functions of the module `alembic.context` call the methods of the instance.
        vars(self._environment).update(configure=self.configure, run_migrations=self.run_migrations)

    def execute(self) -> None:
        """Execute env.py; called in the thread."""
        self._logging = LoggingState()
        self._history.config.attributes[MARK] = True
        try:
            with self._environment:
                self._history.scripts.run_env()
        except SystemExit as exc:  # in a task it would end the event loop
            raise _env_failed(self._history, exc) from exc
        finally:
            self._logging.restore()

    def stop(self) -> None:
        """Let a thread that waits, or calls `run_migrations` later, end with an error."""
        if not self.answer.done():
            self.answer.set_exception(concurrent.futures.CancelledError())

    def configure(self, connection: Connection | None = None, **options: Any) -> None:
        """Store the options, and check where the connection leads."""
        self._logging.restore()
        own = options.pop(MARK, False)
        refused = sorted(_REFUSED & options.keys())
        if refused:
            raise self._refuse(
                _unsupported(
                    f"passes {', '.join(refused)} to context.configure", code="bad-env-option"
                )
            )
        if not own:
            self._check_connection(connection)
            # Without this, `context.begin_transaction` would begin one on this connection.
            all_options: dict[str, Any] = options | {"transaction_per_migration": True}
            self._configure(connection=connection, **all_options)
        self._connection = connection
        self._options = options

    def run_migrations(self, **arguments: Any) -> None:
        """Wait until the run has done its work."""
        if self._options is None:
            raise self._refuse(
                _unsupported(
                    "calls run_migrations before context.configure", code="env-not-supported"
                )
            )
        if self.ran:
            raise self._refuse(
                _unsupported("runs the migrations more than once", code="env-not-supported")
            )
        self.ran = True
        self._history.env = _env_options(self._options, arguments)
        if self._connection is not None and self._connection.in_transaction():
            # What env.py did before has to be visible to the run, and must not block it.
            self._connection.commit()
        if self._waits:
            self._loop.call_soon_threadsafe(self._ask)
            try:
                self.answer.result()
            finally:
                self._environment.__enter__()  # the work had Alembic's context meanwhile

    def _ask(self) -> None:
        if not self.asked.done():
            self.asked.set_result(None)

    def _check_connection(self, connection: Connection | None) -> None:
        if connection is None:
            raise self._refuse(
                _unsupported("passes no connection to context.configure", code="env-not-supported")
            )
        if connection.get_execution_options().get("schema_translate_map"):
            raise self._refuse(
                _unsupported(
                    "sets schema_translate_map on its connection", code="env-not-supported"
                )
            )
        found = read_place(connection)
        if found[:2] != self._place[:2]:
            raise self._refuse(_other_database(connection))
        if found.schema != self._place.schema:
            raise self._refuse(_other_schema(found.schema, self._place.schema))

    def _refuse(self, problem: ConfigurationError) -> ConfigurationError:
        self.problem = self.problem or problem
        return problem


def _env_options(options: dict[str, Any], arguments: dict[str, Any]) -> EnvOptions:
    from oneoff.services.migrations.history import EnvOptions

    kept = {name: value for name, value in options.items() if name not in _WITHOUT_EFFECT}
    table = str(kept.get("version_table") or "alembic_version")
    kept["include_name"] = _without_framework(kept.get("include_name"), table)
    # One transaction for each revision: CREATE INDEX CONCURRENTLY must be able to leave it, and
    # revisions that succeeded stay when a later one fails.
    kept["transaction_per_migration"] = True
    # Alembic assumes that SQLite can't roll back DDL. It can, because our engine sends a real
    # BEGIN, which Python's sqlite3 does not do before DDL.
    kept["transactional_ddl"] = True
    return EnvOptions(kept, arguments)


def _without_framework(wanted: NameFilter | None, version_table: str) -> NameFilter:
    def include(name: str | None, kind: Any, parents: Any) -> bool:
        # Alembic itself leaves out its table in one schema only.
        if kind == "table" and ((name or "").startswith(PREFIX) or name == version_table):
            return False
        return wanted is None or wanted(name, kind, parents)

    return include


def _unsupported(does: str, *, code: str) -> ConfigurationError:
    return ConfigurationError(
        f"migrations/env.py {does}",
        why="oneoff runs the migrations once, on the connection of the run; nothing was migrated",
        try_="replace its content: from oneoff import run_env; run_env(Base.metadata)",
        code=code,
    )


def _other_database(connection: Connection) -> ConfigurationError:
    url = connection.engine.url.render_as_string(hide_password=True)
    return ConfigurationError(
        f"migrations/env.py connects to another database than the run: {url}",
        why="the run was checked and recorded for the other one; nothing was migrated",
        try_="let env.py connect to the same database, or call oneoff.run_env there",
        code="env-other-database",
    )


def _other_schema(theirs: str, ours: str) -> ConfigurationError:
    return ConfigurationError(
        f"the connection of migrations/env.py creates tables in the schema {theirs or 'none'}, "
        f"and that of the run in {ours or 'none'}",
        why="search_path is set in env.py, or differs by role; nothing was migrated",
        try_="set it for the role (ALTER ROLE), or name the schema in models and revisions",
        code="env-other-schema",
    )


def _env_failed(history: History, exc: BaseException) -> ConfigurationError:
    file = history.shorten(Path(history.scripts.dir) / "env.py")
    return ConfigurationError(
        f"{file} can't be run: {place_of(exc)}: {error_text(exc)}",
        why="nothing was migrated by it",
        try_="correct that line; --traceback shows how it was reached",
        code="project-broken",
    )
