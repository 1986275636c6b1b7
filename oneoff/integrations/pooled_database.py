"""The database of a long-running process: a pool, and a transaction for each request or job.

Commands do not use it, because the executor opens, commits and rolls back their transactions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from oneoff.config.settings import Config
from oneoff.core.errors import TemporaryError
from oneoff.database.engine import POOL_TIMEOUT, Database
from oneoff.database.errors import translate_error
from oneoff.database.project_engine import new_session

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class PooledDatabase:
    """The database of a web or worker process. It lives as long as the process.

    Args:
        database: Created with a `pool_size`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction: it commits when the block ends, and rolls back if the block raises.

        Raises:
            CommandError: The error that a command would report: `Unavailable` if the database
                can't be reached, `TemporaryError` if all connections stayed in use, `DataError` if
                a text can't be stored.
        """
        # On SQLite, a transaction that reads first and writes later must be the only writer from
        # its start. Otherwise its first write fails if another transaction has written meanwhile.
        immediate = self._database.url.dialect == "sqlite"
        try:
            async with (
                self._database.connect(immediate=immediate) as connection,
                new_session(connection) as session,
                session.begin(),
            ):
                yield session
        except PoolTimeoutError as exc:
            raise self._exhausted() from exc
        except (SQLAlchemyError, UnicodeEncodeError) as exc:
            error = translate_error(exc)
            if error is None:
                raise
            raise error from exc

    async def dispose(self) -> None:
        """Close every connection."""
        await self._database.dispose()

    def _exhausted(self) -> TemporaryError:
        return TemporaryError(
            f"no connection of this process was free for {POOL_TIMEOUT:g} s: it has "
            f"{self._database.pool_size}, and all are in use",
            why="there are too many requests or jobs at a time, or they hold connections too long",
            try_="start more processes, or raise DATABASE_POOL_SIZE",
            code="pool-exhausted",
        )


@asynccontextmanager
async def open_pooled_database(
    config: Config, *, service: str, pool_size: int
) -> AsyncIterator[PooledDatabase]:
    """Create the pool of this process; it connects when a session is first opened.

    Args:
        config: Settings with the URL of the database, and the project.
        service: "web" or "worker"; shown in `pg_stat_activity.application_name`.
        pool_size: Largest number of open connections.
    """
    database = PooledDatabase(
        Database(config.database(), run_id=service, pool_size=pool_size, project=config.project)
    )
    try:
        yield database
    finally:
        await database.dispose()
