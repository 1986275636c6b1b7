"""`audit archive`."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, Confirm, DryRun, Option, Result

if TYPE_CHECKING:
    from oneoff.core.run import Run
    from oneoff.database.transaction import WorkTransaction
    from oneoff.runtime.terminal import Terminal


class Archive(BaseCommand):
    """Move the records of old runs from the database to a file.

    The file has the format of `audit export`. The rest of the chain can still be verified: an event
    keeps the last hash of the file. Runs that are open or owe a review stay, and so do all events
    after their first one. On PostgreSQL, only the owner of the tables can do it.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.PLAN
    lock = "audit-archive"
    examples = (
        "audit archive --before 2026-01-01 -o audit-2025.jsonl.gz --dry-run",
        "audit archive --before 2026-01-01 -o audit-2025.jsonl.gz --confirm",
    )

    before: date = Option(help="Move runs that ended before this day (UTC).")
    output: str = Option(short="o", help="File to write; it must not exist.")

    def consequence(self) -> str:
        return f"deletes the records of runs before {self.before} in {{target}}"

    async def handle(self, work: WorkTransaction, run: Run, terminal: Terminal) -> Result:
        from datetime import UTC, datetime, time

        from oneoff.services.audit.archive import archive, plan_archive, summary
        from oneoff.utils.text import counted

        before = datetime.combine(self.before, time(), UTC)
        plan = await plan_archive(work.connection, before)
        if not plan.events:
            return Result.unchanged(f"no run before {self.before} can be archived")
        what = f"{counted(plan.events, 'event')} of {counted(plan.runs, 'run')}"
        if run.dry_run:
            message = f"would move {what} to {self.output}"
            return Result.changed(message, rows=plan.events, data=summary(plan))
        written = await archive(work.connection, plan, self.output, terminal, run.id)
        return Result.changed(
            f"moved {what} to {self.output}",
            rows=plan.events,
            data={**summary(plan), "sha256": written.sha256},
        )
