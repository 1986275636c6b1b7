"""`batch cancel`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Cancel(BaseCommand):
    """Give a batch up: what is done stays, and the next run begins anew.

    A run that works at it ends with 1 after the transaction it is in.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.ROLLBACK
    examples = ("batch cancel 20260131T120000-0123456789 --confirm",)

    batch: str = Argument(help="Id of the batch or of the run at work; the beginning is enough.")

    def consequence(self) -> str:
        return f"gives the batch {self.batch} up, so that it can't be resumed"

    async def handle(self, session: AsyncSession) -> Result:
        from oneoff.services.batch import operator_control

        return await operator_control.cancel(session, self.batch)
