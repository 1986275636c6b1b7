"""`batch resume`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Resume(BaseCommand):
    """Let a paused batch go on.

    One that stopped is resumed by its own command, with the same arguments.
    """

    access = Access.WRITE
    confirm = Confirm.NEVER
    dry_run = DryRun.ROLLBACK
    examples = ("batch resume 20260131T120000-0123456789",)

    batch: str = Argument(help="Id of the batch or of the run at work; the beginning is enough.")

    async def handle(self, session: AsyncSession) -> Result:
        from oneoff.services.batch import operator_control

        return await operator_control.resume(session, self.batch)
