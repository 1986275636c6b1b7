"""`jobs abort`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Result

if TYPE_CHECKING:
    from oneoff.core.run import Run
    from oneoff.services.jobs.queue import Jobs


class Abort(BaseCommand):
    """Remove a job from the queue, or stop it while it runs.

    A waiting job can always be removed. A running job is stopped only if its worker sets
    allow_abort_jobs.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.PLAN
    aims_at = "redis"
    examples = ("jobs abort nightly-report --dry-run", "jobs abort nightly-report --confirm")

    job: str = Argument(help="Id of the job.")

    def consequence(self) -> str:
        return f"aborts job {self.job} in {{target}}"

    async def handle(self, jobs: Jobs, run: Run) -> Result:
        from oneoff.services.jobs.abort import abort_job, check_abortable
        from oneoff.services.jobs.lookup import get_job
        from oneoff.services.jobs.records import JobStatus

        record = await get_job(jobs, self.job)
        if record.due is None:
            ended = "aborted" if record.aborted else record.status.value
            return Result.unchanged(f"job {self.job} has ended: {ended}", data=record.row())
        if record.status is JobStatus.RUNNING:
            check_abortable(jobs, record)
        if run.dry_run:
            what = f"would abort {record.function} ({record.status.value}), job {self.job}"
            return Result.changed(what, rows=1, data=record.row())
        done = await abort_job(jobs, record)
        return Result.changed(f"aborted job {self.job}: {done}", rows=1, data=record.row())
