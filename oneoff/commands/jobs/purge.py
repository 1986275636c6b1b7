"""`jobs purge`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from oneoff import Access, BaseCommand, Confirm, DryRun, Flag, Option, Result, UsageError

if TYPE_CHECKING:
    from oneoff.core.run import Run
    from oneoff.services.jobs.purge import PurgeCounts
    from oneoff.services.jobs.queue import Jobs


class Purge(BaseCommand):
    """Remove results of jobs, and expired jobs in the queue.

    With --queued, waiting jobs are removed too and will never run. Running jobs are always kept,
    and so are the jobs and results of other queues.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.PLAN
    aims_at = "redis"
    allow_in_production = True
    examples = (
        "jobs purge --older-than 7d --dry-run",
        "jobs purge --failed-only --confirm",
        "jobs purge --queued --confirm=localhost/0@staging",
    )

    failed_only: bool = Flag(help="Remove only results of failed jobs.")
    older_than: timedelta | None = Option(
        default=None,
        help="Remove only jobs that ended, or were due, at least this long ago: 24h, 7d.",
    )
    queued: bool = Flag(help="Also remove waiting jobs; they will never run.")

    def __init__(self, **values: Any) -> None:
        """Refuse contradictory options before the operator has to confirm."""
        super().__init__(**values)
        if self.failed_only and self.queued:
            raise UsageError(
                "--failed-only and --queued can't be used together",
                try_="python manage.py jobs purge --queued --dry-run",
            )

    def confirm_level(self) -> Confirm:
        return Confirm.TYPE_NAME if self.queued else self.confirm

    def consequence(self) -> str:
        from oneoff.core.conversion import duration_text

        age = self.older_than
        old = "" if age is None else f", if older than {duration_text(age)}"
        what = "the results of failed jobs" if self.failed_only else "the results of jobs"
        work = " and all waiting jobs, which will never run," if self.queued else ""
        return f"removes {what}{work} from {{target}}{old}"

    async def handle(self, jobs: Jobs, run: Run) -> Result:
        from oneoff.services.jobs.purge import PurgeFilter, purge

        what = PurgeFilter(self.failed_only, self.older_than, self.queued)
        counts = await purge(jobs, what, plan=run.dry_run)
        total = sum(counts)
        if not total:
            return Result.unchanged("nothing to remove", data=counts._asdict())
        verb = "would remove" if run.dry_run else "removed"
        return Result.changed(f"{verb} {_counts_text(counts)}", rows=total, data=counts._asdict())


def _counts_text(counts: PurgeCounts) -> str:
    from oneoff.utils.text import counted

    parts = [counted(counts.results, "result")]
    if counts.dead:
        parts.append(counted(counts.dead, "dead entry", "dead entries"))
    if counts.queued:
        parts.append(counted(counts.queued, "queued job"))
    return ", ".join(parts)
