"""`wipe`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from oneoff import Access, Argument, BaseCommand, DryRun, Option, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Wipe(BaseCommand):
    """Delete all events of a kind."""

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK
    approvals = 1
    examples = ("wipe signup",)

    kind: str = Argument(help="The kind of the events.")
    note: str = Option(default="", help="A text without meaning.")

    async def handle(self, session: AsyncSession) -> Result:
        """Delete them."""
        delete = text("DELETE FROM events WHERE kind = :kind RETURNING id")
        rows = len((await session.execute(delete, {"kind": self.kind})).all())
        return Result.changed(f"deleted {rows} events", rows=rows)
