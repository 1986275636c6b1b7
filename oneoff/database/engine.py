"""The database of one run: its engine, its connections, and the resource `database`.

Importing this module loads no SQLAlchemy; the engine is made when the first connection opens.
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

from oneoff.config.database_url import DatabaseURL, parse_database_url
from oneoff.core.errors import Unavailable
from oneoff.database.roles import EXEMPT, WORK, Opening
from oneoff.utils.concurrency import undivided

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry

    from oneoff.config.settings import Config
    from oneoff.core.project import Project
    from oneoff.core.run import Run

CONNECT_TIMEOUT = 10.0
"""Seconds for one attempt to connect, unless the URL says `connect_timeout`."""
BUSY_TIMEOUT = 15.0
"""Seconds SQLite waits for another writer, unless the URL says `timeout`."""
POLL_PAUSE = 0.25
"""Seconds between two attempts of `wait_until_up`."""
POOL_TIMEOUT = 10.0
"""Seconds to wait for a connection of a pool, all of which are in use."""
POOL_RECYCLE = 1800
"""Seconds after which a connection of a pool is replaced: firewalls forget idle ones."""

_MAX_NAME = 63  # bytes PostgreSQL keeps of an application_name
# Behind pgbouncer in transaction mode each transaction may reach another server process, so nothing
# may be cached in it. A statement without a name is parsed and run in one message and works even
# outside a transaction. A named one would stay in the server process, for other clients to meet.
_WITHOUT_PREPARED = {
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": lambda: "",
}
# With a name, the server itself reports that the types of a table have changed. The name is random:
# behind a pooler that was not recognised, the statement is then unknown, which is an error, instead
# of being another client's statement, which would be a wrong result.
_WITH_PREPARED = {
    "prepared_statement_cache_size": 100,
    "prepared_statement_name_func": lambda: f"oneoff_{os.urandom(8).hex()}",
}


_opening: ContextVar[Opening | None] = ContextVar("oneoff_opening", default=None)
"""What the connection is for that this task opens now. SQLAlchemy can't pass it to the hooks of an
engine, so they read it here."""


class Database:
    """One database and the engine that reaches it; every connection is new and closed after use.

    A pool would only keep what one-off work must not inherit: session settings, temporary tables,
    a forgotten transaction. A process that serves requests has one all the same.

    Args:
        url: Where it is.
        run_id: Id of the run, shown to other clients in `pg_stat_activity.application_name`.
        pool_size: Connections that are kept and used again, and the most there are at one time;
            0 for one-off work: each is new.
    """

    def __init__(self, url: DatabaseURL, *, run_id: str, pool_size: int = 0) -> None:
        self.url = url
        self.run_id = run_id
        self.pool_size = pool_size

    @cached_property
    def engine(self) -> AsyncEngine:
        """The SQLAlchemy engine. Connections made from it directly have the role "work"."""
        from sqlalchemy import event
        from sqlalchemy.ext.asyncio import create_async_engine

        sqlite = self.url.dialect == "sqlite"
        engine = create_async_engine(
            self.url.sqlalchemy(),
            hide_parameters=True,
            **self._pool_arguments(),
            connect_args=self._sqlite_arguments() if sqlite else self._asyncpg_arguments(),
        )
        event.listen(engine.sync_engine, "connect", _mark_exempt)
        if sqlite:
            event.listen(engine.sync_engine, "do_connect", self._try_file)
            event.listen(engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(engine.sync_engine, "begin", _begin_sqlite)
        else:
            event.listen(engine.sync_engine, "do_connect", self._set_connection_arguments)
        return engine

    @asynccontextmanager
    async def connect(
        self,
        role: str = WORK,
        *,
        immediate: bool = False,
        guarded: bool | None = None,
        prepares: bool = False,
    ) -> AsyncIterator[AsyncConnection]:
        """Open a connection; what is not committed is rolled back when it closes.

        Args:
            role: What it is for. In a dry run and in a read-only run only connections with one of
                `OWN_ROLES`, those of the framework's locks and records, may write.
            immediate: On SQLite, wait for the write lock at BEGIN. Without it, a transaction that
                reads first and writes later fails at once if another one has written in between.
            guarded: For `begin_work` only: whether a guard keeps the transaction open.
            prepares: On PostgreSQL, keep statements prepared in the server, for work that repeats
                them. Never through a pooler: the next transaction may reach another server process.

        Raises:
            Unavailable: The server can't be reached, or takes no connections now.
            ConfigurationError: User, password, database or file are wrong.
        """
        started = self.engine.connect()
        with self._while_opening(Opening(role, guarded=guarded, prepares=prepares)):
            connection = await self._open(started)
        try:
            if immediate:
                await connection.execution_options(oneoff_begin="BEGIN IMMEDIATE")
            yield connection
        finally:
            # Closes even while the task is being cancelled.
            await started.__aexit__(None, None, None)

    async def _open(self, started: AsyncConnection) -> AsyncConnection:
        if self.url.dialect == "postgresql":
            return await started.start()
        # If aiosqlite is cancelled while it opens a file, it may wait for its own thread for ever.
        return await undivided(started.start(), lambda connection: connection.close())

    @asynccontextmanager
    async def transaction(self, role: str = WORK) -> AsyncIterator[AsyncConnection]:
        """Open a connection for one transaction that writes.

        It is committed at the end of the block and rolled back when the block raises. Its BEGIN is
        sent with the first statement.
        """
        async with self.connect(role, immediate=True) as connection:
            yield connection
            await connection.commit()

    @asynccontextmanager
    async def autocommit(self, role: str = WORK) -> AsyncIterator[AsyncConnection]:
        """Open a connection on which each statement commits itself.

        Behind pgbouncer in transaction mode each may reach another server: nothing that lives in
        a session (SET, temporary tables, session locks) is there for the next one.
        """
        async with self.connect(role) as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            yield connection

    async def wait_until_up(self, seconds: float) -> None:
        """Wait for a database that is still starting; 0 doesn't wait, and doesn't connect.

        Raises:
            Unavailable: It did not come up in time.
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
        """Forget the engine."""
        if "engine" in self.__dict__:
            await self.engine.dispose()

    @contextmanager
    def _while_opening(self, opening: Opening) -> Iterator[None]:
        """Let the hooks of SQLAlchemy's events know the purpose, and translate what fails."""
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
            # A server that was restarted costs the next request a new connection, not an error.
            "pool_pre_ping": True,
        }

    def _asyncpg_arguments(self) -> dict[str, Any]:
        return {
            "timeout": float(self.url.query.get("connect_timeout", CONNECT_TIMEOUT)),
            "statement_cache_size": 0,
        }

    def _sqlite_arguments(self) -> dict[str, Any]:
        from oneoff.database.sqlite_connection import SQLiteConnection

        timeout = float(self.url.query.get("timeout", BUSY_TIMEOUT))
        return {"timeout": timeout, "factory": SQLiteConnection}

    def _try_file(
        self, _dialect: object, _record: object, _args: object, arguments: dict[str, Any]
    ) -> None:
        # Try to open the file before aiosqlite starts its thread: when opening fails in the thread,
        # it reports the error to the event loop, which may be closed by then.
        import sqlite3

        sqlite3.connect(self.url.database).close()
        opening = _opening.get()
        if opening is not None and opening.guarded:
            # SQLite asks the guard's authorizer when it compiles a statement. One that comes from
            # the driver's cache would not be checked.
            arguments["cached_statements"] = 0

    def _set_connection_arguments(
        self, _dialect: object, _record: object, _args: object, arguments: dict[str, Any]
    ) -> None:
        opening = _opening.get() or Opening(WORK)
        arguments["server_settings"] = {"application_name": self._application_name(opening.role)}
        arguments |= _WITH_PREPARED if opening.prepares else _WITHOUT_PREPARED
        arguments.pop("connection_class", None)
        if opening.guarded:
            from oneoff.database.guards.postgresql import GuardedConnection

            arguments["connection_class"] = GuardedConnection

    def _application_name(self, role: str) -> str:
        # The server cuts long names. Shorten the role, because operators search for the run id.
        room = _MAX_NAME - len("oneoff//") - len(self.run_id)
        short = role.encode("ascii", "replace")[:room].decode()
        return f"oneoff/{short}/{self.run_id}"


def _mark_exempt(_connection: object, record: ConnectionPoolEntry) -> None:
    opening = _opening.get()
    record.info[EXEMPT] = opening is not None and opening.exempt


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # Switch off the driver's own BEGIN. It sends none before SELECT, DDL or SAVEPOINT, and after it
    # the one of `_begin_sqlite` would fail.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql(options.get("oneoff_begin", "BEGIN"))


@asynccontextmanager
async def open_database(config: Config, project: Project, run: Run) -> AsyncIterator[Database]:
    """Give the resource `database`: DATABASE_URL, or the embedded SQLite file."""
    url = parse_database_url(config.database_url, config.root, project.name)
    database = Database(url, run_id=run.id)
    try:
        yield database
    finally:
        await database.dispose()


async def leads_through_pooler(connection: AsyncConnection) -> bool:
    """Ask the server who it is, on a connection to PostgreSQL without an open transaction.

    Raises:
        Unavailable: The connection broke.
    """
    driver: Any = (await connection.get_raw_connection()).driver_connection
    try:
        # On the driver, because SQLAlchemy might keep the statement prepared.
        server = await driver.fetchval("SELECT pg_backend_pid()")
    except Exception as exc:
        from oneoff.database.errors import connection_lost

        raise connection_lost() from exc  # nothing else can be wrong with such a question
    # A pooler invents the process id that it tells its clients.
    return bool(server != driver.get_server_pid())
