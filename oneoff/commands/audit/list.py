"""`audit list`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from oneoff import Access, BaseCommand, Option, Result, UsageError
from oneoff.core.outcome import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.core.run import Run


class List(BaseCommand):
    """List recorded runs, newest first.

    Runs that read or write the database are recorded. Other runs are only in the log. The list does
    not contain the run that shows it. The id is the end of the run's full id, and `audit show`
    takes both. --json shows all columns.
    """

    access = Access.READ
    examples = (
        "audit list",
        "audit list --status failed --since 24h",
        'audit list --command "user promote" --operator ada --limit 100 --json',
    )

    limit: int = Option(default=20, short="l", help="Show at most this many runs.")
    command: str = Option(default="", help="Only runs of this command or group of commands.")
    operator: str = Option(default="", help="Only runs that this operator started.")
    status: Status | None = Option(default=None, help="Only runs in this state.")
    since: timedelta | None = Option(
        default=None, help="Only runs that started within this time: 90m, 24h, 7d."
    )

    async def handle(self, session: AsyncSession, run: Run) -> Result:
        from oneoff.runtime.audit.queries import Filter, list_runs
        from oneoff.utils.text import counted

        if self.limit < 1:
            raise UsageError(
                f"--limit {self.limit} is less than 1",
                try_="python manage.py audit list --limit 20",
            )
        wanted = Filter(
            command=self.command,
            operator=self.operator,
            status=self.status.value if self.status else "",
            since=_before(run.started_at, self.since),
            without=run.id,
        )
        rows, total = await list_runs(session, wanted, self.limit)
        shown = f"{len(rows)} of {counted(total, 'run')}"
        return Result.report(rows, shown, table=[*map(_line, rows)])


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what fits a line of 80 columns."""
    status = row["status"] + (f" {row['exit_code']}" if row["exit_code"] else "")
    if row["dry_run"]:
        status = "dry run" if not row["exit_code"] else f"dry run, {status}"
    return {
        "time (UTC)": f"{row['started'].astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        "who": row["operator"],
        "command": row["command"],
        "result": status,
        "rows": row["rows"],
        "id": row["run_id"].rpartition("-")[2],
    }


def _before(now: datetime, age: timedelta | None) -> datetime | None:
    try:
        return now - age if age else None
    except OverflowError:  # earlier than the year 1: no run is older
        return None
