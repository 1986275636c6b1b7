"""`jobs retry`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Result

if TYPE_CHECKING:
    from oneoff.core.run import Run
    from oneoff.services.jobs.queue import Jobs


class Retry(BaseCommand):
    """Queue a failed job again, with the arguments it had.

    Its id stays; its tries are counted anew. A job that did not fail is left alone.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.PLAN
    aims_at = "redis"
    examples = ("jobs retry nightly-report --dry-run", "jobs retry nightly-report --confirm")

    job: str = Argument(help="Its id.")

    def consequence(self) -> str:
        return f"queues job {self.job} again in {{target}}"

    async def handle(self, jobs: Jobs, run: Run) -> Result:
        from oneoff.services.jobs.lookup import get_job
        from oneoff.services.jobs.retry import check_retriable, retry_job

        record = await get_job(jobs, self.job)
        if record.due is not None:
            return Result.unchanged(f"job {self.job} is in the queue already", data=record.row())
        if run.dry_run:
            check_retriable(jobs, record)
            return Result.changed(
                f"would queue {record.function} again as job {self.job}", rows=1, data=record.row()
            )
        if not await retry_job(jobs, record):
            return Result.unchanged(f"job {self.job} was queued again by somebody else")
        return Result.changed(
            f"queued {record.function} again as job {self.job}", rows=1, data=record.row()
        )
