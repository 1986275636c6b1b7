"""`batch list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, Flag, Option, Result, UsageError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class List(BaseCommand):
    """List batches, the newest first."""

    access = Access.READ
    examples = ("batch list", "batch list --unfinished --json")

    limit: int = Option(default=20, short="l", help="Show at most this many batches.")
    unfinished: bool = Flag(help="Show only batches that are active or can be resumed.")

    async def handle(self, session: AsyncSession) -> Result:
        from oneoff.services.batch import operator_control

        if self.limit < 1:
            raise UsageError(
                f"--limit {self.limit} is less than 1",
                try_="python manage.py batch list --limit 20",
            )
        rows = await operator_control.list_batches(
            session, unfinished=self.unfinished, limit=self.limit
        )
        none = "no batch is unfinished" if self.unfinished else "no batch has been started yet"
        return Result.report(rows, "" if rows else none)
