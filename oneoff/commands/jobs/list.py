"""`jobs list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, Option, Result, UsageError

if TYPE_CHECKING:
    from oneoff.services.jobs.queue import Jobs


class List(BaseCommand):
    """List jobs in the queue by due time, then ended jobs, newest first.

    The states are running, queued, deferred, expired (in the queue, but its function and
    arguments have expired), completed, failed, and unreadable.
    """

    access = Access.READ
    examples = (
        "jobs list",
        "jobs list --status failed --limit 200",
        "jobs list --status queued,running --json",
    )

    status: list[str] = Option(default=[], help="Only jobs in these states, separated by commas.")
    limit: int = Option(default=50, short="l", help="Show at most this many jobs.")

    async def handle(self, jobs: Jobs) -> Result:
        from oneoff.services.jobs.lookup import list_jobs
        from oneoff.services.jobs.records import JobStatus
        from oneoff.utils.text import counted

        if self.limit < 1:
            raise UsageError(
                f"--limit {self.limit} is less than 1",
                try_="python manage.py jobs list --limit 50",
            )
        known = {status.value: status for status in JobStatus}
        names = [name for text in self.status for name in text.split(",")]
        if unknown := [name for name in names if name not in known]:
            raise UsageError(
                [f"--status {name!r} is not one of {', '.join(known)}" for name in unknown],
                try_="python manage.py jobs list --status failed",
            )
        wanted = [known[name] for name in names] or list(JobStatus)
        found = await list_jobs(jobs, wanted, self.limit)
        rows = [record.row() for record in found.jobs]
        message = f"{counted(len(rows), 'job')}; the queue holds {found.in_queue}"
        warnings = (
            () if found.all_seen else ("not all results were read; newer ones may be missing",)
        )
        return Result.report(rows, message, warnings=warnings)
