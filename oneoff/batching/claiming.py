"""Claim a batch in a transaction of its own, and again where that may succeed a moment later."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from oneoff.audit import process_started
from oneoff.batching.checkpoints import BatchRunning
from oneoff.schema.tables import runs

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.batching.transactions import Transactions

T = TypeVar("T")

_CLAIMS = 10
_CLAIM_PAUSE = 0.2


async def claim_patiently(
    transactions: Transactions,
    claim: Callable[[AsyncConnection], Awaitable[T]],
) -> T:
    """Claim it; a run that was just killed is given a moment to let go of its lock.

    Args:
        transactions: Where the claim is committed.
        claim: Claims in the transaction it is given.

    Raises:
        BatchRunning: Another run works at it, and is alive.
    """
    for _ in range(_CLAIMS - 1):
        try:
            async with transactions.begin() as connection:
                return await claim(connection)
        except IntegrityError:
            pass  # another run has begun the same batch in this very moment
        except BatchRunning as exc:
            async with transactions.begin() as connection:
                if not await _is_gone(connection, exc.run_id):
                    raise
        await asyncio.sleep(_CLAIM_PAUSE)
    async with transactions.begin() as connection:
        return await claim(connection)


async def _is_gone(connection: AsyncConnection, run_id: str) -> bool:
    """Return whether the process of a run is dead, and its lock still held.

    It was killed a moment ago on this machine, and the server has not seen it yet.
    """
    about = select(runs.c.host, runs.c.pid, runs.c.process_started).where(runs.c.id == run_id)
    row = (await connection.execute(about)).one_or_none()
    return (
        row is not None
        and row.host == socket.gethostname()
        and process_started(row.pid) != row.process_started
    )
