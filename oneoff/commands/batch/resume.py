"""`batch resume`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Resume(BaseCommand):
    """Resume a paused batch.

    To resume a stopped batch, run its own command again with the same arguments.
    """

    access = Access.WRITE
    confirm = Confirm.NEVER
    dry_run = DryRun.ROLLBACK
    examples = ("batch resume 20260131T120000-0123456789",)

    batch: str = Argument(help="Id of the batch or of its run; the first characters are enough.")

    async def handle(self, session: AsyncSession) -> Result:
        from oneoff.services.batch import operator_control

        return await operator_control.resume(session, self.batch)
