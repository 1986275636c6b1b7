"""`outbox list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, Option, Result, UsageError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class List(BaseCommand):
    """List effects that were not delivered, the oldest first.

    The state is waiting, or given-up after five failures. The payload is not shown, because it may
    contain personal data.
    """

    access = Access.READ
    examples = ("outbox list", "outbox list --state given-up --json")

    state: str = Option(
        default="",
        choices=("waiting", "given-up", "delivered"),
        help="Show only effects in this state (default: waiting and given-up).",
    )
    limit: int = Option(default=50, short="l", help="Show at most this many effects.")

    async def handle(self, session: AsyncSession) -> Result:
        from oneoff.services.outbox.delivery import list_effects

        if self.limit < 1:
            raise UsageError(
                f"--limit {self.limit} is less than 1",
                try_="python manage.py outbox list --limit 50",
            )
        rows = await list_effects(session, state=self.state, limit=self.limit)
        none = f"no effect is {self.state or 'undelivered'}"
        return Result.report(rows, "" if rows else none)
