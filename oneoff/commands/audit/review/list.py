"""`audit review list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from oneoff import Access, BaseCommand, Option, Result, UsageError

if TYPE_CHECKING:
    from oneoff.database.transaction import WorkTransaction

Sensitivity = Literal["break-glass", "production", "personal-data", "shell"]


class List(BaseCommand):
    """List runs that nobody has reviewed, oldest first.

    Runs with --break-glass owe a review. Others are listed if --only asks for them: runs that wrote
    in production, that exported personal data, or that were a shell.
    """

    access = Access.READ
    examples = ("audit review list", "audit review list --only production --json")

    only: Sensitivity = Option(default="break-glass", help="Which runs to list.")
    limit: int = Option(default=20, short="l", help="Show at most this many runs.")

    async def handle(self, work: WorkTransaction) -> Result:
        from oneoff.services.audit.reviews import list_unreviewed
        from oneoff.utils.text import counted

        if self.limit < 1:
            raise UsageError(
                f"--limit {self.limit} is less than 1",
                try_="python manage.py audit review list --limit 20",
            )
        found = await list_unreviewed(work.connection, self.only, self.limit)
        table = [{**row, "started": f"{row['started']:%Y-%m-%d %H:%M}"} for row in found]
        return Result.report(found, f"{counted(len(found), 'run')} to review", table=table)
