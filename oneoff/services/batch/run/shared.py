"""The lock by which others see that a run is alive, held again after the server forgot it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from oneoff.database.locks.acquire import hold_for_transaction

if TYPE_CHECKING:
    from oneoff.database.engine import Database


class Liveness:
    """Stands in for the connection of the run's record, which broke with that of its batches.

    Without it a run on another machine would find this one's lock free, call it dead, and take its
    batch over. SQLite's locks are in a file and don't break.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stack = AsyncExitStack()
        self._renewing = asyncio.Lock()  # the shards of a run lose their connections together

    async def renew(self) -> None:
        """Hold the lock on a new connection; where the old one still holds it, that is enough."""
        if self._database.url.dialect == "sqlite":
            return
        async with self._renewing:
            await self.release()
            connection = await self._stack.enter_async_context(self._database.connect("audit"))
            await hold_for_transaction(connection, self._database, f"run:{self._database.run_id}")

    async def release(self) -> None:
        """Let go of it at the end of the run."""
        # A connection that is broken has released the lock already.
        with suppress(SQLAlchemyError, OSError):
            await self._stack.aclose()
