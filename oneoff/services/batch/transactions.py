"""The connection of a run's batches, and their transactions: the only place that commits them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from oneoff.database.engine import leads_through_pooler
from oneoff.utils.concurrency import undivided

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database

ROLE = "batch"
PATIENCE = 5.0
"""Seconds a connection is given to roll back or close; one that is silent never would."""

COMMIT_TIMEOUT = 15.0
"""Seconds for the answer to a commit, which nothing else may interrupt: below the grace of a
signal. Without an answer the checkpoint tells whether it was made."""

current_batch: ContextVar[str] = ContextVar("oneoff_current_batch", default="")
"""Id of the batch at work in this task: what an effect in the outbox belongs to."""


class Transactions:
    """One connection, made when it is first needed, and anew after `drop`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stack = AsyncExitStack()
        self._connection: AsyncConnection | None = None
        self._prepares = database.url.dialect == "postgresql"

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """Begin a transaction; commit it at the end of the block, or roll it back on an error.

        A cancellation that comes during the commit is raised after it.
        """
        connection = await self._connect()
        await connection.begin()
        try:
            yield connection
        except BaseException:
            await self._roll_back(connection)
            raise
        try:
            await undivided(_commit(connection), _keep)
        except Exception:
            await self._roll_back(connection)
            raise

    async def drop(self) -> None:
        """Let go of the connection, whatever state it is in."""
        connection, self._connection = self._connection, None
        with suppress(SQLAlchemyError, OSError, ValueError):
            async with asyncio.timeout(PATIENCE):
                if connection is not None:
                    await connection.invalidate()
                await self._stack.aclose()

    async def close(self) -> None:
        """Close the connection at the end of a run."""
        self._connection = None
        with suppress(SQLAlchemyError, OSError):
            async with asyncio.timeout(PATIENCE):
                await self._stack.aclose()

    async def _connect(self) -> AsyncConnection:
        if self._connection is None:
            self._connection = await self._open()
        return self._connection

    async def _open(self) -> AsyncConnection:
        """Connect; the server keeps statements prepared, unless there is a pooler.

        Each batch has the same: to parse and describe them anew would be a fifth of one that
        deletes a few thousand rows.
        """
        opened = self._database.connect(ROLE, immediate=True, prepares=self._prepares)
        connection = await self._stack.enter_async_context(opened)
        if self._prepares and await leads_through_pooler(connection):
            self._prepares = False
            await self._stack.aclose()
            return await self._open()
        return connection

    async def _roll_back(self, connection: AsyncConnection) -> None:
        # The first error tells more than a second one about a connection that is broken.
        try:
            async with asyncio.timeout(PATIENCE):
                await connection.rollback()
        except (SQLAlchemyError, OSError):
            await self.drop()


@asynccontextmanager
async def session_in(connection: AsyncConnection) -> AsyncIterator[AsyncSession]:
    """Give a session in a savepoint of the connection's transaction, which its commit ends too."""
    async with AsyncSession(
        connection, expire_on_commit=False, join_transaction_mode="create_savepoint"
    ) as session:
        yield session
        await session.commit()


async def _commit(connection: AsyncConnection) -> None:
    async with asyncio.timeout(COMMIT_TIMEOUT):
        await connection.commit()


async def _keep(_committed: None) -> None:
    """Leave a commit as it is, though the run ends after it."""
