"""Claim a batch in a transaction of its own, and again where that may succeed a moment later."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import IntegrityError

from oneoff.batching.checkpoints import BatchRunning, holder_is_gone

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.batching.transactions import Transactions

T = TypeVar("T")

_CLAIMS = 10
_CLAIM_PAUSE = 0.2


async def claim_patiently(
    transactions: Transactions,
    claim: Callable[[AsyncConnection], Awaitable[T]],
    which: ColumnElement[bool],
) -> T:
    """Claim it; a run that was just killed is given a moment to let go of its lock.

    Args:
        transactions: Where the claim is committed.
        claim: Claims in the transaction it is given.
        which: Which batch that is.

    Raises:
        BatchRunning: Another run works at it, and is alive.
    """
    for _ in range(_CLAIMS - 1):
        try:
            async with transactions.begin() as connection:
                return await claim(connection)
        except IntegrityError:
            pass  # another run has begun the same batch in this very moment
        except BatchRunning:
            async with transactions.begin() as connection:
                if not await holder_is_gone(connection, which):
                    raise
        await asyncio.sleep(_CLAIM_PAUSE)
    async with transactions.begin() as connection:
        return await claim(connection)
