"""`restock`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, CommandError, DryRun, Flag, Result

if TYPE_CHECKING:
    from oneoff.services.jobs.queue import Jobs


class Restock(BaseCommand):
    """Queue a job in any kind of run."""

    access = Access.WRITE
    dry_run = DryRun.PLAN
    examples = ("restock",)

    swallow: bool = Flag(help="Continue if the job is refused.")

    async def handle(self, jobs: Jobs) -> Result:
        """Queue a job."""
        try:
            queued = await jobs.enqueue("sum", left=2, _job_id="restock")
        except CommandError:
            if not self.swallow:
                raise
            return Result.unchanged("continued")
        return Result.changed(f"queued {queued.id}: {queued.created}", rows=int(queued.created))
