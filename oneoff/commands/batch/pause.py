"""`batch pause`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Pause(BaseCommand):
    """Let a batch wait after the transaction it is in, until `batch resume`.

    The run goes on, holds no lock and no transaction, and says what it waits for.
    """

    access = Access.WRITE
    confirm = Confirm.NEVER
    dry_run = DryRun.ROLLBACK
    examples = ("batch pause 20260131T120000-0123456789",)

    batch: str = Argument(help="Id of the batch or of the run at work; the beginning is enough.")

    async def handle(self, session: AsyncSession) -> Result:
        from oneoff.services.batch import operator_control

        return await operator_control.pause(session, self.batch)
