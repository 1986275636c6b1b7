"""`batch show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Show(BaseCommand):
    """Show how far a batch has come, and who works at it."""

    access = Access.READ
    examples = ("batch show 20260131T120000-0123456789",)

    batch: str = Argument(help="Id of the batch or of the run at work; the beginning is enough.")

    async def handle(self, session: AsyncSession) -> Result:
        from oneoff.batching import control

        return Result.report(await control.show(session, self.batch))
