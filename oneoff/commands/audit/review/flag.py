"""`audit review flag`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, DryRun, Result

if TYPE_CHECKING:
    from oneoff.core.run import Run
    from oneoff.database.transaction import WorkTransaction


class Flag(BaseCommand):
    """Record that a run of somebody else was not right.

    The review is added to the audit events of that run, with the text of --reason.
    """

    access = Access.WRITE
    dry_run = DryRun.UNSUPPORTED
    examples = ("audit review flag 0123456789 --reason 'as agreed in INC-7'",)

    run_id: str = Argument(help="The id of the run, or the part that `audit list` shows.")

    async def handle(self, work: WorkTransaction, run: Run) -> Result:
        from oneoff.services.audit.reviews import review

        reviewed = await review(work.session, self.run_id, "flagged", run)
        return Result.changed(f"flagged run {reviewed} of another operator", rows=1)
