"""`jobs purge`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, Confirm, DryRun, Flag, Option, Result, UsageError

if TYPE_CHECKING:
    from oneoff.arq_jobs.queue import Jobs
    from oneoff.run import Run


class Purge(BaseCommand):
    """Remove the results of jobs, and entries of the queue whose job has expired.

    Results are those of every queue in this Redis. Work that waits in the queue stays, unless
    --queued is given; a job that runs always stays.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.PLAN
    aims_at = "redis"
    examples = (
        "jobs purge --older-than 7d --dry-run",
        "jobs purge --failed-only --confirm",
        "jobs purge --queued --confirm",
    )

    failed_only: bool = Flag(help="Only results of jobs that failed.")
    older_than: timedelta | None = Option(
        default=None, help="Only what ended, or was due, this long ago: 24h, 7d."
    )
    queued: bool = Flag(help="Remove the work that waits in the queue, too.")

    def consequence(self) -> str:
        what = "the results of failed jobs" if self.failed_only else "results of jobs"
        work = " and the work that waits" if self.queued else ""
        return f"removes {what}{work} from {{target}}"

    async def handle(self, jobs: Jobs, run: Run) -> Result:
        from oneoff.arq_jobs import purge

        if self.failed_only and self.queued:
            raise UsageError(
                "--failed-only and --queued exclude each other",
                try_="python manage.py jobs purge --queued --dry-run",
            )
        what = purge.Purge(self.failed_only, self.older_than, self.queued)
        counts = await purge.purge(jobs, what, plan=run.dry_run)
        total = sum(counts)
        if not total:
            return Result.unchanged("nothing to remove", data=counts._asdict())
        said = ", ".join(
            f"{count} {name}"
            for name, count in zip(("results", "dead entries", "queued jobs"), counts, strict=True)
            if count or name == "results"
        )
        verb = "would remove" if run.dry_run else "removed"
        return Result.changed(f"{verb} {said}", rows=total, data=counts._asdict())
