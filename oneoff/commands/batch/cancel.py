"""`batch cancel`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Cancel(BaseCommand):
    """Cancel a batch. Committed rows are kept.

    The next run of the same command starts a new batch. A run that works on this batch ends with
    exit code 1 after its current transaction.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.ROLLBACK
    examples = ("batch cancel 20260131T120000-0123456789 --confirm",)

    batch: str = Argument(help="Id of the batch or of its run; the first characters are enough.")

    def consequence(self) -> str:
        return f"cancels the batch {self.batch}, so that it can't be resumed"

    async def check_inputs(self, session: AsyncSession) -> None:
        from oneoff.services.batch import operator_control

        await operator_control.find(session, self.batch)

    async def handle(self, session: AsyncSession) -> Result:
        from oneoff.services.batch import operator_control

        return await operator_control.cancel(session, self.batch)
