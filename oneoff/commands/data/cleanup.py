"""`data cleanup`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, Confirm, DryRun, Flag, Option, Result, UsageError

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger as Logger

    from oneoff.core.project import Project
    from oneoff.services.batch.resource import BatchRunner
    from oneoff.services.batch.run.bounds import BatchBound


class Cleanup(BaseCommand):
    """Delete rows that are older than the project's retention rules allow.

    Each rule runs as a separate batch, in short transactions. If a batch was stopped, the next run
    resumes it, and computes the age of rows from the time when the batch started.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.ROLLBACK
    dry_run_samples = True
    examples = (
        "data cleanup --dry-run",
        "data cleanup --max-time 30m --bound-is-success --confirm",
        "data cleanup --only events --days 365 --confirm",
    )

    days: int | None = Option(
        default=None, help="Override each rule's number of days; not below the rule's minimum."
    )
    only: list[str] = Option(
        default=[], help="Run only the rule with this name; a dry run lists the names."
    )
    max_rows: int | None = Option(
        default=None, help="Stop after this many rows and save the progress (default: no limit)."
    )
    max_time: timedelta | None = Option(
        default=None, help="Stop after this time and save the progress: 90s, 2h."
    )
    duty: float | None = Option(
        default=None, help="Percentage of the time in which a batch works (default: the rule's)."
    )
    new_run: bool = Flag(help="Start again, even if an unfinished run could be resumed.")
    bound_is_success: bool = Flag(
        help="Exit with 0 where --max-rows or --max-time ends the run: the next one continues."
    )

    async def check_inputs(self, project: Project) -> None:
        from oneoff.services.batch.command import bound_problems, duty_problems
        from oneoff.services.retention.cleanup import choose_rules

        wrong = bound_problems(self.max_rows, self.max_time) + duty_problems(self.duty)
        if self.bound_is_success and self.max_rows is None and self.max_time is None:
            wrong.append("--bound-is-success needs --max-rows or --max-time")
        if wrong:
            raise UsageError(wrong)
        choose_rules(project, self.only, self.days)

    async def handle(self, batches: BatchRunner, project: Project, log: Logger) -> Result:
        from oneoff.services.batch.run.bounds import BatchBound
        from oneoff.services.retention.cleanup import CleanupRequest, choose_rules, clean
        from oneoff.utils.text import counted

        rules = choose_rules(project, self.only, self.days)
        wanted = CleanupRequest(
            rules=rules,
            days=self.days,
            max_rows=self.max_rows,
            max_time=self.max_time,
            duty=self.duty,
            new_run=self.new_run,
        )
        try:
            report = await clean(batches, wanted)
        except BatchBound as bound:
            if not self.bound_is_success:
                raise
            return _stopped(bound)
        rows = sum(rule["rows"] for rule in report)
        if not rows:
            message = "nothing to do: no row is older than its retention rule allows"
            return Result.unchanged(message, data=report)
        log.info("data.cleaned", **{rule["rule"]: rule["rows"] for rule in report})
        message = f"deleted {counted(rows, 'row')} by {counted(len(rules), 'rule')}"
        return Result.changed(message, rows=rows, data=report)

    def consequence(self) -> str:
        from oneoff.utils.text import counted

        what = ", ".join(self.only) or "every retention rule"
        days = "" if self.days is None else f" that are older than {counted(self.days, 'day')}"
        return f"deletes the rows of {what}{days} from {{target}}"


def _stopped(bound: BatchBound) -> Result:
    """Return the result of a run that ended at its bound."""
    more = ["there may be more rows: the next run continues after the last saved one"]
    if not bound.done:
        return replace(Result.unchanged(bound.message), warnings=more)
    return Result.changed(bound.message, rows=bound.done, warnings=more)
