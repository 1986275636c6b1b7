"""`audit review approve`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from oneoff import Access, Argument, BaseCommand, DryRun, Result

if TYPE_CHECKING:
    from oneoff.core.run import Run
    from oneoff.database.transaction import WorkTransaction
    from oneoff.services.audit.reviews import Verdict


class Approve(BaseCommand):
    """Record that a run of somebody else was right.

    The review is added to the audit events of that run, with the text of --reason.
    """

    access = Access.WRITE
    dry_run = DryRun.UNSUPPORTED
    examples = ("audit review approve 0123456789 --reason 'as agreed in INC-7'",)

    verdict: ClassVar[Verdict] = "approved"

    run_id: str = Argument(help="The id of the run, or the part that `audit list` shows.")

    async def handle(self, work: WorkTransaction, run: Run) -> Result:
        from oneoff.services.audit.reviews import review

        reviewed = await review(work.session, self.run_id, self.verdict, run)
        return Result.changed(f"{self.verdict} run {reviewed} of another operator", rows=1)
