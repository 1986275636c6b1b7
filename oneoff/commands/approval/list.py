"""`approval list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, Flag, Option, Result, UsageError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class List(BaseCommand):
    """List open requests and approvals, newest first.

    The id is the end of the full id; the other commands take both. --json shows all columns.
    """

    access = Access.READ
    examples = ("approval list", "approval list --all --limit 50 --json")

    limit: int = Option(default=20, short="l", help="Show at most this many.")
    all: bool = Flag(help="Show also those that were used, rejected, withdrawn, or have expired.")

    async def handle(self, session: AsyncSession) -> Result:
        from oneoff.services.approvals.facts import line, list_approvals

        if self.limit < 1:
            raise UsageError(
                f"--limit {self.limit} is less than 1",
                try_="python manage.py approval list --limit 20",
            )
        rows = await list_approvals(session, closed=self.all, limit=self.limit)
        count = f"{len(rows)} approval{'' if len(rows) == 1 else 's'}"
        return Result.report(rows, count, table=[*map(line, rows)])
