"""The connection on which the resource `migrations` reads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from oneoff.core.policy import Mode

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database
    from oneoff.services.migrations.env_file import Place


class Reads:
    """Opens the connection when it is first needed.

    A read-only run has one read-only transaction. In other runs no transaction stays open between
    reads, because the statements of a revision would wait for its end.

    Args:
        database: The database of the run.
        mode: How the run may change data.
        file: The file of a SQLite database that does not exist yet.
    """

    def __init__(self, database: Database, mode: Mode, file: str) -> None:
        self._database = database
        self._mode = mode
        self._file = file
        self._stack = AsyncExitStack()
        self._connection: AsyncConnection | None = None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """Yield the connection that all reads share."""
        reads_only = self._mode is Mode.READ_ONLY
        if self._connection is None:
            opening = self._read_only() if reads_only else self._database.connect()
            self._connection = await self._stack.enter_async_context(opening)
        try:
            yield self._connection
        finally:
            if not reads_only:
                await self._connection.rollback()

    @asynccontextmanager
    async def for_code_of_the_project(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection with which code of the project can't write; it has a transaction."""
        reads_only = self._mode is Mode.READ_ONLY
        async with self.connection() if reads_only else self._read_only() as connection:
            yield connection

    async def place(self) -> Place:
        """Return where the connections of the run lead."""
        from oneoff.database.schema.facts import read_facts
        from oneoff.services.migrations.env_file import Place

        database = self._database
        if database.url.dialect == "sqlite":
            return Place(
                "sqlite", (database.url.database if database.url.exists() else self._file,)
            )
        if (facts := database.facts) is None:
            async with self.connection() as connection:
                facts = await read_facts(connection, database.url)
        schema = database.engine.dialect.default_schema_name
        return Place("postgresql", (facts.database, facts.server), schema or "")

    async def close(self) -> None:
        """Close the connection."""
        await self._stack.aclose()

    @asynccontextmanager
    async def _read_only(self) -> AsyncIterator[AsyncConnection]:
        from oneoff.database.transaction import begin_work

        async with begin_work(self._database, Mode.READ_ONLY) as work:
            yield work.connection
