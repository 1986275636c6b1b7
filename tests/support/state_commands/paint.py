"""`paint`: a batch that does one step whenever the test lets it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Select, select

from oneoff import BatchCommand
from tests.support.tally_project import Tally

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

gates: list[asyncio.Semaphore] = []
"""The gate of the running test: a batch of rows takes one permit."""


class Paint(BatchCommand):
    """Count each row once."""

    examples = ("paint --confirm",)
    batch_size = smallest_batch = largest_batch = 5
    reconnect_seconds = 10.0

    def select(self) -> Select[Tally]:
        """Return all rows."""
        return select(Tally)

    async def process(self, session: AsyncSession, batch: Sequence[Tally]) -> int:
        """Wait for a permit, and count the rows."""
        await gates[-1].acquire()
        for row in batch:
            row.n += 1
        return len(batch)
