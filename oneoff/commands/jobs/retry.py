"""`jobs retry`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Result

if TYPE_CHECKING:
    from oneoff.core.run import Run
    from oneoff.services.jobs.queue import Jobs


class Retry(BaseCommand):
    """Queue a failed job again with the same arguments.

    The job keeps its id, and its tries are counted from the start. A job that has not failed is
    not changed.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.PLAN
    aims_at = "redis"
    examples = ("jobs retry nightly-report --dry-run", "jobs retry nightly-report --confirm")

    job: str = Argument(help="Id of the job.")

    def consequence(self) -> str:
        return f"queues job {self.job} again in {{target}}"

    async def handle(self, jobs: Jobs, run: Run) -> Result:
        from oneoff.services.jobs.lookup import get_job
        from oneoff.services.jobs.retry import check_retriable, retry_job

        record = await get_job(jobs, self.job)
        if record.due is not None:
            return Result.unchanged(f"job {self.job} is already in the queue", data=record.row())
        if run.dry_run:
            check_retriable(jobs, record)
            return Result.changed(
                f"would queue {record.function} again as job {self.job}", rows=1, data=record.row()
            )
        if not await retry_job(jobs, record):
            return Result.unchanged(f"job {self.job} was already queued again by another client")
        return Result.changed(
            f"queued {record.function} again as job {self.job}", rows=1, data=record.row()
        )
