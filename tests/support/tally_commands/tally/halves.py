"""`tally halves`: two batches in one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Update, update

from oneoff import BatchCommand, BatchRange, Result
from tests.support.tally_project import Tally

if TYPE_CHECKING:
    from oneoff.services.batch.command import Batches


class Halves(BatchCommand):
    """Do the rows up to 400, then those up to 1,000."""

    examples = ("tally halves --confirm",)
    batch_size = 150
    range_column = "id"

    def change(self) -> Update:
        """Count each row once."""
        return update(Tally).values(n=Tally.n + 1)

    async def handle(self, batches: Batches) -> Result:
        """Run both batches, each with its own checkpoint."""
        first = await batches.run(self, limits=BatchRange(None, 400), part="1/2")
        second = await batches.run(self, limits=BatchRange(400, 1_000), part="2/2")
        return Result.changed("both", rows=first.rows + second.rows)
