"""Do a batch row by row, where one of its rows fails and may be left out."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from oneoff.batching.rejects import row_error
from oneoff.batching.selection import RowWise, Step
from oneoff.batching.transactions import session_in

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.core.errors import CommandError

    Failed = list[tuple[Any, CommandError]]

current_batch: ContextVar[str] = ContextVar("oneoff_current_batch", default="")
"""Id of the batch at work in this task: what an effect in the outbox belongs to."""


async def do_row_by_row(
    connection: AsyncConnection, selection: RowWise, after: Any, size: int
) -> tuple[Step, Failed]:
    """Do the batch that follows a key in one savepoint a row, and return the rows that failed."""
    async with session_in(connection) as session:
        keys, _ = await selection.page(session, after, size)
    changed, failed = 0, []
    for key in keys:
        try:
            async with session_in(connection) as session:
                changed += await selection.one(session, key)
        except Exception as exc:
            error = row_error(exc)
            if error is None:
                raise
            failed.append((key, error))
    last = len(keys) < size
    key = keys[-1] if keys else None
    return Step(key, len(keys), changed, last, errors=len(failed)), failed
