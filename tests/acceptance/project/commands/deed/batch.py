"""`deed batch`: a deed for each row."""

from collections.abc import Sequence

from sqlalchemy import Select, select

from app.models import Tick
from oneoff import BatchCommand


class Batch(BatchCommand):
    """Increment a number in each row."""

    examples = ("deed batch --confirm",)
    batch_size = largest_batch = 10

    def select(self) -> Select[Tick]:
        """Return all rows."""
        return select(Tick)

    async def process(self, session, batch: Sequence[Tick]) -> int:
        """Count each row once."""
        for row in batch:
            row.n += 1
        return len(batch)
