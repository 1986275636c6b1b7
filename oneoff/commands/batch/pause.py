"""`batch pause`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Pause(BaseCommand):
    """Pause a batch after its current transaction, until `batch resume`.

    The run stays active and shows what it waits for. The batch holds no lock and no transaction.
    """

    access = Access.WRITE
    confirm = Confirm.NEVER
    dry_run = DryRun.ROLLBACK
    examples = ("batch pause 20260131T120000-0123456789",)

    batch: str = Argument(help="Id of the batch or of its run; the first characters are enough.")

    async def handle(self, session: AsyncSession) -> Result:
        from oneoff.services.batch import operator_control

        return await operator_control.pause(session, self.batch)
