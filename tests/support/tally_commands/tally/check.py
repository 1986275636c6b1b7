"""`tally check`: do all rows except two that fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Select, select, text

from oneoff import BatchCommand, DataError
from oneoff.services.outbox import effects
from tests.support.tally_project import Tally

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Check(BatchCommand):
    """Do every row; the 7th has bad data, and the 13th meets a constraint."""

    examples = ("tally check --confirm",)
    batch_size = 10

    def select(self) -> Select[Tally]:
        """Return all rows."""
        return select(Tally)

    async def process(self, session: AsyncSession, batch: Sequence[Tally]) -> int:
        """Count each row once, and store an effect for the 20th."""
        for row in batch:
            row.n += 1
            if row.id == 7:
                raise DataError("row 7 has no address")
            if row.id == 13:
                await session.execute(text("INSERT INTO tally VALUES (1, 0, 0)"))
            if row.id == 20:
                await effects.put_effect(session, "tally.twenty", {"id": row.id})
        return len(batch)
