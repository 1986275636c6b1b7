"""The objects that all batches of one run share: bounds, output, and the liveness lock."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from sqlalchemy.exc import SQLAlchemyError

from oneoff.database.locks.acquire import hold_for_transaction

if TYPE_CHECKING:
    from oneoff.core.run import Run
    from oneoff.database.engine import Database
    from oneoff.runtime.progress import Progress
    from oneoff.runtime.terminal import Terminal
    from oneoff.services.batch.run.bounds import Bounds, DutyCycle
    from oneoff.services.batch.run.rejects import FailedRowsFile


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """The objects that all batches of one run share; the end of `async with` closes them.

    Attributes:
        run: The run.
        database: The database with the rows.
        terminal: For messages to the operator.
        progress: Shows how many rows are done.
        duty_cycle: The pauses between batches.
        bounds: The bounds of the run.
        rejects: The file for rows that are rejected.
        liveness: The lock that shows other runs that this run is alive.
    """

    run: Run
    database: Database
    terminal: Terminal
    progress: Progress
    duty_cycle: DutyCycle
    bounds: Bounds
    rejects: FailedRowsFile
    liveness: Liveness

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.rejects.close()
        await self.liveness.release()


class Liveness:
    """Takes the liveness lock of the run again after its connection was lost.

    The connection that writes the run's record holds the lock from the start. If the server
    restarts, that connection is lost together with the connection of the batches. Without the lock,
    another run would treat this run as dead and claim its batch. On SQLite the lock is in a file
    and can't be lost.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stack = AsyncExitStack()
        self._renewing = asyncio.Lock()  # the shards of a run lose their connections together

    async def renew(self) -> None:
        """Take the lock on a new connection, unless the old one still holds it."""
        if self._database.url.dialect == "sqlite":
            return
        async with self._renewing:
            await self.release()
            connection = await self._stack.enter_async_context(self._database.connect("audit"))
            await hold_for_transaction(connection, self._database, f"run:{self._database.run_id}")

    async def release(self) -> None:
        """Close the connection, which releases the lock."""
        # The lock of a broken connection is already released, so its error does not matter.
        with suppress(SQLAlchemyError, OSError):
            await self._stack.aclose()
