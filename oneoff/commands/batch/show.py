"""`batch show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Show(BaseCommand):
    """Show how far a batch has come, who works at it, and what can be done next.

    `rows_expected` is a guess of the database, left out once it was overtaken. A batch that is cut
    into shards lists them; one is shown by its own id.
    """

    access = Access.READ
    examples = (
        "batch show 20260131T120000-0123456789",
        "batch show 20260131T120000-0123456789.3/8 --json",
    )

    batch: str = Argument(help="Id of the batch or of the run at work; the beginning is enough.")

    async def handle(self, session: AsyncSession) -> Result:
        from oneoff.services.batch import operator_control

        return Result.report(await operator_control.show(session, self.batch))
