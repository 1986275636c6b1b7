"""Open the connection of a run's batches, and begin, commit and roll back its transactions.

This is the only module that commits batches.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Self

from sqlalchemy.exc import SQLAlchemyError

from oneoff.database.asyncpg_adapter import leads_through_pooler
from oneoff.database.project_engine import new_session
from oneoff.utils.concurrency import undivided

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

    from oneoff.database.engine import Database

ROLE = "batch"
PATIENCE = 5.0
"""Seconds for a connection to roll back or close; a silent connection would never answer."""

COMMIT_TIMEOUT = 15.0
"""Seconds for the answer to a commit; shorter than the grace period of a signal. Nothing else
interrupts a commit. If no answer arrives, the checkpoint shows whether the commit was made."""

current_batch: ContextVar[str] = ContextVar("oneoff_current_batch", default="")
"""Id of the batch that this task works on; `put_effect` stores it with the effect."""


class Transactions:
    """Transactions on one connection, which is opened when it is first needed.

    Use it with `async with`: the end of the block closes the connection.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stack = AsyncExitStack()
        self._connection: AsyncConnection | None = None
        self._prepares = database.url.dialect == "postgresql"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._connection = None
        with suppress(SQLAlchemyError, OSError):
            async with asyncio.timeout(PATIENCE):
                await self._stack.aclose()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """Begin a transaction; commit it at the end of the block, or roll it back on an error.

        A cancellation during the commit is raised after the commit.
        """
        connection = await self._connect()
        await connection.begin()
        try:
            yield connection
        except BaseException:
            await self._roll_back(connection)
            raise
        try:
            # If a cancellation interrupted the COMMIT, it would be unknown whether it was made.
            await undivided(_commit(connection), _keep_committed)
        except Exception:
            await self._roll_back(connection)
            raise

    async def drop(self) -> None:
        """Discard the connection, whatever its state; the next transaction opens a new one."""
        connection, self._connection = self._connection, None
        with suppress(SQLAlchemyError, OSError, ValueError):
            async with asyncio.timeout(PATIENCE):
                if connection is not None:
                    await connection.invalidate()
                await self._stack.aclose()

    async def _connect(self) -> AsyncConnection:
        while self._connection is None:
            # Every batch runs the same statements. Parsing and planning them each time would take a
            # fifth of a batch that deletes a few thousand rows, so they are prepared on the server.
            # Behind a pooler, the next transaction may have another server connection, on which
            # they are not prepared. Then the connection is opened again without preparing.
            opened = self._database.connect(ROLE, immediate=True, prepares=self._prepares)
            connection = await self._stack.enter_async_context(opened)
            if self._prepares and await leads_through_pooler(connection):
                self._prepares = False
                await self._stack.aclose()
            else:
                self._connection = connection
        return self._connection

    async def _roll_back(self, connection: AsyncConnection) -> None:
        # An error of the rollback is dropped: the first error, which caused it, is raised instead.
        try:
            async with asyncio.timeout(PATIENCE):
                await connection.rollback()
        except (SQLAlchemyError, OSError):
            await self.drop()


@asynccontextmanager
async def session_in(connection: AsyncConnection) -> AsyncIterator[AsyncSession]:
    """Open a session in a savepoint of the connection's transaction; release it at the end."""
    # With a savepoint, an error undoes only the work of this session, and the transaction can
    # continue: see `process_row_by_row`.
    async with new_session(connection, join_transaction_mode="create_savepoint") as session:
        yield session
        await session.commit()


async def _commit(connection: AsyncConnection) -> None:
    async with asyncio.timeout(COMMIT_TIMEOUT):
        await connection.commit()


async def _keep_committed(_: None) -> None:
    """Do nothing: a commit can't be undone, even if the run ends after it."""
