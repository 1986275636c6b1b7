"""The batch that takes another one back: of the two only one can be going on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from oneoff.core.errors import TemporaryError
from oneoff.database.locks.acquire import is_free
from oneoff.database.tables import batches
from oneoff.runtime.audit.record import reconcile
from oneoff.services.batch.state import checkpoints, claims

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database
    from oneoff.services.batch.state.identity import Identity


async def cancel_reverted(
    connection: AsyncConnection, database: Database, identity: Identity
) -> None:
    """Give an unfinished batch up that does the opposite.

    If it went on later from where it stopped, it would pass over the rows that were taken back
    meanwhile, and say that all is done.

    Args:
        connection: In the transaction that claims the batch.
        database: Its run id is the one that claims.
        identity: Of the batch that is claimed.

    Raises:
        BatchRunning: Another run works at the opposite.
        TemporaryError: `batch-running`: another run claims one of the two in this moment.
    """
    if not identity.opposite:
        return
    await _keep_others_out(connection, database, identity)
    await reconcile(connection, database)
    of_opposite = select(batches).where(
        batches.c.command == identity.opposite,
        batches.c.parent == "",
        batches.c.finished_at.is_(None),
    )
    for row in (await connection.execute(of_opposite.with_for_update())).mappings().all():
        await claims.refuse_while_running(connection, row, database.run_id)
        if row["shards"]:
            await claims.refuse_while_shards_run(connection, row, database.run_id)
        note = f"run {database.run_id} did the opposite"
        await checkpoints.cancel_unfinished(connection, row["id"], note)


async def _keep_others_out(
    connection: AsyncConnection, database: Database, identity: Identity
) -> None:
    """Lock the pair to the transaction's end; on SQLite the transaction is alone anyway."""
    first, second = sorted((identity.command, identity.opposite))
    if not await is_free(connection, database, f"batch:{first}|{second}"):
        raise TemporaryError(
            f"another run begins {first} or {second} in this moment",
            why="only one of the two can be going on",
            try_="python manage.py batch list",
            code="batch-running",
        )
