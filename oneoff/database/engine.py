"""Connect to the database of a run: its engine, its connections, and the resource `database`.

Importing this module does not load SQLAlchemy. The engine is created for the first connection.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any

from oneoff.config.database_url import DatabaseURL
from oneoff.config.url_parameters import KEEPALIVES, PROTECTING, STATEMENT_CACHE, TLS
from oneoff.core.errors import Unavailable
from oneoff.database.limits import NO_LIMITS, Limits
from oneoff.database.roles import EXEMPT, OWN_ROLES, WORK, Opening
from oneoff.utils.concurrency import undivided

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry

    from oneoff.config.environment import Facts
    from oneoff.config.settings import Config
    from oneoff.core.project import Project
    from oneoff.core.run import Run

CONNECT_TIMEOUT = 10.0
"""Seconds for one attempt to connect, unless the URL sets `connect_timeout`."""
BUSY_TIMEOUT = 15.0
"""Seconds that SQLite waits for another writer, unless the URL sets `timeout`."""
POLL_PAUSE = 0.25
"""Seconds between two attempts of `wait_until_up`."""
POOL_TIMEOUT = 10.0
"""Seconds to wait for a connection while all connections of a pool are in use."""
# Firewalls drop idle connections without notice.
POOL_RECYCLE = 1800
"""Seconds after which a connection of a pool is replaced."""

_MAX_NAME = 63  # bytes of an application_name that PostgreSQL keeps
# Behind pgbouncer in transaction mode, each transaction may reach another server process, so
# nothing may be cached in a server process. A statement without a name is parsed and run in one
# message, so it works even outside of a transaction. A named statement would stay in the server
# process and could collide with those of other clients.
_WITHOUT_PREPARED = {
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": lambda: "",
}
# For a named statement, the server reports if the types of a table have changed since it was
# prepared. The name is random for the case that there is a pooler that was not recognised: then the
# statement is unknown in another server process, which is an error. A predictable name could be
# that of another client's statement there, which would return a wrong result.
_WITH_PREPARED = {
    "prepared_statement_name_func": lambda: f"oneoff_{os.urandom(8).hex()}",
}


# SQLAlchemy can't pass arguments to the hooks of an engine, so they read the purpose here.
_opening: ContextVar[Opening | None] = ContextVar("oneoff_opening", default=None)
"""The purpose of the connection that this task is opening."""


class Database:
    """One database and its engine; by default each connection is new and is closed after use.

    A run uses no pool, because it must not inherit session settings, temporary tables or an open
    transaction from earlier work. A process that serves requests uses one.

    Args:
        url: URL of the database.
        run_id: Id of the run, shown to other clients in `pg_stat_activity.application_name`.
        pool_size: Number of connections that are kept and reused, which is also the most that are
            open at the same time; 0 for no pool.
        limits: The limits of each transaction of the work, on PostgreSQL.
        project: Its session class and the options of its engine are used; None for neither.

    Attributes:
        facts: The database's facts about itself at the start of the run; None if it read none.
    """

    def __init__(
        self,
        url: DatabaseURL,
        *,
        run_id: str,
        pool_size: int = 0,
        limits: Limits = NO_LIMITS,
        project: Project | None = None,
    ) -> None:
        self.url = url
        self.project = project
        self.run_id = run_id
        self.pool_size = pool_size
        self.limits = limits
        self.facts: Facts | None = None
        self._lent: AsyncConnection | None = None

    def lend(self, connection: AsyncConnection) -> None:
        """Let the work of the run go on with this connection, which the caller closes later.

        Args:
            connection: An open connection of this database.
        """
        self._lent = connection

    def take_lent(self) -> AsyncConnection | None:
        """Return the connection for the work, once; None if none was lent."""
        lent, self._lent = self._lent, None
        if lent is not None:
            self._limit(lent.sync_connection.connection)  # type: ignore[union-attr]
        return lent

    @cached_property
    def engine(self) -> AsyncEngine:
        """The SQLAlchemy engine. Connections made from it directly have the role "work"."""
        from sqlalchemy import event
        from sqlalchemy.ext.asyncio import create_async_engine

        from oneoff.database.project_engine import LISTENERS, engine_options

        sqlite = self.url.dialect == "sqlite"
        arguments = self._sqlite_arguments() if sqlite else self._asyncpg_arguments()
        options = engine_options(self.project, arguments)
        listeners = options.pop(LISTENERS, {})
        engine = create_async_engine(
            self.url.sqlalchemy(), hide_parameters=True, **self._pool_arguments(), **options
        )
        event.listen(engine.sync_engine, "connect", _mark_exempt)
        if sqlite:
            event.listen(engine.sync_engine, "do_connect", self._try_file)
            event.listen(engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(engine.sync_engine, "begin", _begin_sqlite)
        else:
            event.listen(engine.sync_engine, "do_connect", self._set_connection_arguments)
            event.listen(engine.sync_engine, "connect", self._limit_work)
            from oneoff.database.asyncpg_adapter import ask_the_driver

            ask_the_driver(engine, knows_schema=_reads_facts)
            if any(name in self.url.query for name in KEEPALIVES):
                event.listen(engine.sync_engine, "connect", self._keep_alive)
        for name, function in listeners.items():
            event.listen(engine.sync_engine, name, function)
        return engine

    @asynccontextmanager
    async def connect(
        self,
        role: str = WORK,
        *,
        immediate: bool = False,
        guarded: bool | None = None,
        prepares: bool = False,
        reads_facts: bool = False,
    ) -> AsyncIterator[AsyncConnection]:
        """Open a connection; closing it rolls back an open transaction.

        Args:
            role: The purpose of the connection. In dry runs and read-only runs, only connections
                with one of `OWN_ROLES` (the framework's locks and records) may write.
            immediate: On SQLite, wait for the write lock at BEGIN. Without it, a transaction that
                reads first and writes later fails at once if another one has written in between.
            guarded: For `begin_work` only: whether a guard keeps the transaction open.
            prepares: On PostgreSQL, keep statements prepared in the server, for work that repeats
                them. Don't use it through a pooler: the next transaction may reach another server
                process.
            reads_facts: Whether the caller calls `read_facts` on it next.

        Raises:
            Unavailable: The server can't be reached, or accepts no connections now.
            ConfigurationError: User, password, database or file are wrong.
        """
        started = self.engine.connect()
        opening = Opening(role, guarded, prepares, reads_facts)
        with self._while_opening(opening):
            connection = await self._open(started)
        try:
            if immediate:
                await connection.execution_options(oneoff_begin="BEGIN IMMEDIATE")
            yield connection
        finally:
            await _close(started)

    async def _open(self, started: AsyncConnection) -> AsyncConnection:
        if self.url.dialect == "postgresql":
            return await started.start()
        # If aiosqlite is cancelled while it opens a file, it may wait for its thread indefinitely.
        return await undivided(started.start(), lambda connection: connection.close())

    @asynccontextmanager
    async def transaction(self, role: str = WORK) -> AsyncIterator[AsyncConnection]:
        """Open a connection for one transaction that writes.

        The transaction is committed at the end of the block, and rolled back if the block raises an
        exception. Its BEGIN is sent with the first statement.

        Args:
            role: As in `connect`.
        """
        async with self.connect(role, immediate=True) as connection:
            yield connection
            await connection.commit()

    @asynccontextmanager
    async def autocommit(self, role: str = WORK) -> AsyncIterator[AsyncConnection]:
        """Open a connection on which each statement commits itself.

        Behind pgbouncer in transaction mode, each statement may reach another server process. So
        session state (SET, temporary tables, session locks) is lost after each statement.

        Args:
            role: As in `connect`.
        """
        async with self.connect(role) as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            yield connection

    async def wait_until_up(self, seconds: float) -> None:
        """Wait until the database accepts connections; with 0 seconds, do nothing.

        Args:
            seconds: The longest time to wait.

        Raises:
            Unavailable: It did not accept a connection in time.
        """
        deadline = monotonic() + seconds
        while seconds:
            try:
                async with self.connect("wait"):
                    return
            except Unavailable:
                if monotonic() + POLL_PAUSE > deadline:
                    raise
            await asyncio.sleep(POLL_PAUSE)

    async def dispose(self) -> None:
        """Close the engine and its pool."""
        if "engine" in self.__dict__:
            await self.engine.dispose()

    @contextmanager
    def _while_opening(self, opening: Opening) -> Iterator[None]:
        """Pass the purpose to the hooks of SQLAlchemy's events, and translate errors."""
        token = _opening.set(opening)
        try:
            yield
        except Exception as exc:
            from oneoff.database.connect_errors import translate_connect_error

            error = translate_connect_error(exc, self.url)
            if error is None:
                raise
            raise error from exc
        finally:
            _opening.reset(token)

    def _pool_arguments(self) -> dict[str, Any]:
        from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool

        if not self.pool_size:
            return {"poolclass": NullPool}
        return {
            "poolclass": AsyncAdaptedQueuePool,
            "pool_size": self.pool_size,
            "max_overflow": 0,
            "pool_timeout": POOL_TIMEOUT,
            "pool_recycle": POOL_RECYCLE,
            # After a restart of the server, the next request gets a new connection, not an error.
            "pool_pre_ping": True,
        }

    def _asyncpg_arguments(self) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            # 0 means no limit, as it does for libpq.
            "timeout": float(self.url.query.get("connect_timeout", CONNECT_TIMEOUT)) or None,
            "statement_cache_size": 0,
        }
        if self.url.query.keys() & (TLS - {"sslmode"}) or any(map(os.environ.get, PROTECTING)):
            from oneoff.database.url_arguments import refuse_without_effect, system_context

            refuse_without_effect(self.url)
            if context := system_context(self.url):
                arguments["ssl"] = context
        return arguments

    def _sqlite_arguments(self) -> dict[str, Any]:
        from oneoff.database.sqlite_connection import SQLiteConnection

        timeout = float(self.url.query.get("timeout", BUSY_TIMEOUT))
        return {"timeout": timeout, "factory": SQLiteConnection}

    def _try_file(
        self, _dialect: object, _record: object, _args: object, arguments: dict[str, Any]
    ) -> None:
        # Try to open the file before aiosqlite starts its thread. If opening fails in that thread,
        # the thread reports the error to the event loop, which may be closed by then.
        import sqlite3

        sqlite3.connect(self.url.database).close()
        opening = _opening.get()
        if opening is not None and opening.guarded:
            # SQLite calls the guard's authorizer when it compiles a statement. A statement from the
            # driver's cache would not be checked.
            arguments["cached_statements"] = 0

    def _set_connection_arguments(
        self, _dialect: object, _record: object, _args: object, arguments: dict[str, Any]
    ) -> None:
        opening = _opening.get() or Opening(WORK)
        name = {"application_name": self._application_name(opening.role)}
        arguments["server_settings"] = {**arguments.get("server_settings", {}), **name}
        cached = int(self.url.query.get(STATEMENT_CACHE, 100))
        if opening.prepares and cached:
            arguments |= _WITH_PREPARED | {STATEMENT_CACHE: cached}
        else:
            arguments |= _WITHOUT_PREPARED
        if opening.guarded is None:
            from oneoff.database.asyncpg_connection import RunConnection

            arguments["connection_class"] = RunConnection
        else:
            from oneoff.database.guards.postgresql import GuardedConnection

            arguments["connection_class"] = GuardedConnection

    def _limit_work(self, connection: Any, _record: object) -> None:
        opening = _opening.get() or Opening(WORK)
        # The record's connection is limited when it is lent to the work.
        if opening.role not in OWN_ROLES and not opening.reads_facts:
            self._limit(connection)

    def _limit(self, connection: Any) -> None:
        connection.driver_connection.limits = self.limits.as_sql()

    def _keep_alive(self, connection: Any, _record: object) -> None:
        from oneoff.database.url_arguments import keep_alive

        keep_alive(connection.driver_connection, self.url)

    def _application_name(self, role: str) -> str:
        # The server truncates long names. Shorten the role, because operators search by run id.
        room = _MAX_NAME - len("oneoff//") - len(self.run_id)
        short = role.encode("ascii", "replace")[:room].decode()
        return f"oneoff/{short}/{self.run_id}"


async def _close(connection: AsyncConnection) -> None:
    """Close the connection, even while the task is being cancelled; a lost one is closed already.

    What was done on the connection is known by then, so its loss must not become the result.
    """
    from oneoff.database.errors import is_connection_loss

    try:
        await connection.__aexit__(None, None, None)
    except Exception as exc:
        if not is_connection_loss(exc):
            raise


def _mark_exempt(_connection: object, record: ConnectionPoolEntry) -> None:
    opening = _opening.get()
    # A connection that was opened without `connect`, directly from the engine, is not exempt.
    record.info[EXEMPT] = opening is not None and opening.exempt


def _reads_facts() -> bool:
    opening = _opening.get()
    return opening is not None and opening.reads_facts


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # Switch off the driver's own BEGIN: the driver sends none before SELECT, DDL or SAVEPOINT, and
    # the BEGIN of `_begin_sqlite` would fail after it.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql(options.get("oneoff_begin", "BEGIN"))


@asynccontextmanager
async def open_database(config: Config, run: Run) -> AsyncIterator[Database]:
    """Open the resource `database`: DATABASE_URL, or the embedded SQLite file."""
    database = Database(config.database(), run_id=run.id, project=config.project)
    try:
        yield database
    finally:
        await database.dispose()
