"""`batch show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Show(BaseCommand):
    """Show the progress of a batch, its current run, and what to do next.

    `rows_expected` is an estimate of the database; it is omitted once more rows are done. A batch
    with shards lists them. To show only one shard, use its id.
    """

    access = Access.READ
    examples = (
        "batch show 20260131T120000-0123456789",
        "batch show 20260131T120000-0123456789.3/8 --json",
    )

    batch: str = Argument(help="Id of the batch or of its run; the first characters are enough.")

    async def handle(self, session: AsyncSession) -> Result:
        from oneoff.services.batch import operator_control

        return Result.report(await operator_control.show(session, self.batch))
