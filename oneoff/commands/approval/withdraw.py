"""`approval withdraw`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, DryRun, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.core.run import Run


class Withdraw(BaseCommand):
    """Withdraw a request, or an approval that was not used yet.

    No run can use it any more. Anybody may withdraw it; the record says who did.
    """

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK
    allow_agents = True
    examples = ("approval withdraw 0123456789",)

    request: str = Argument(help="The id of the request, or the part that `approval list` shows.")

    async def handle(self, session: AsyncSession, run: Run) -> Result:
        from oneoff.runtime.approvals.state import State
        from oneoff.services.approvals.decide import end

        approval = await end(session, run, self.request, State.WITHDRAWN)
        return Result.changed(f"withdrew {approval['id']}", rows=1)
