"""`jobs show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Result

if TYPE_CHECKING:
    from oneoff.services.jobs.queue import Jobs


class Show(BaseCommand):
    """Show one job: its arguments, times, and result or error."""

    access = Access.READ
    examples = ("jobs show nightly-report", "jobs show nightly-report --json")

    job: str = Argument(help="Id of the job.")

    async def handle(self, jobs: Jobs) -> Result:
        from oneoff.services.jobs.lookup import get_job

        return Result.report((await get_job(jobs, self.job)).details())
