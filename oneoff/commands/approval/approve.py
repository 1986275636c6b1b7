"""`approval approve`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, DryRun, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.core.project import Project
    from oneoff.core.run import Run


class Approve(BaseCommand):
    """Approve a request of somebody else.

    Read it first: `approval show`. Nobody can approve a request of their own, and a coding agent
    can't approve. In a protected environment, an operator who is known only as a user of the
    machine, a dyno or a pod can't either.
    """

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK
    examples = ("approval approve 0123456789",)

    request: str = Argument(help="The id of the request, or the part that `approval list` shows.")

    async def handle(self, session: AsyncSession, run: Run, project: Project) -> Result:
        from oneoff.services.approvals.decide import approve

        approval, changed = await approve(session, run, project, self.request)
        people = f"{len(approval['approved_by'])} of {approval['needed']}"
        if not changed:
            return Result.unchanged(f"{run.operator.name} has already approved it ({people})")
        return Result.changed(
            f"approved {approval['id']} ({people}); it runs with --approval "
            f"{approval['id'].rpartition('-')[2]}",
            rows=1,
        )
