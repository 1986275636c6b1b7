"""`approval reject`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, DryRun, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.core.run import Run


class Reject(BaseCommand):
    """Refuse a request, or an approval that was not used yet.

    No run can use it any more. Say why with --reason.
    """

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK
    examples = ("approval reject 0123456789",)

    request: str = Argument(help="The id of the request, or the part that `approval list` shows.")

    async def handle(self, session: AsyncSession, run: Run) -> Result:
        from oneoff.runtime.approvals.state import State
        from oneoff.services.approvals.decide import end

        approval = await end(session, run, self.request, State.REJECTED)
        return Result.changed(f"rejected {approval['id']}", rows=1)
