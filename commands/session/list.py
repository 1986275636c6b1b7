"""`session list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, Option, Result, UsageError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class List(BaseCommand):
    """List open sessions, oldest first."""

    access = Access.READ
    examples = ("session list", "session list --user ada --json")

    user: str = Option(
        default="", help="Show only sessions of this user.", complete="app.users:usernames"
    )
    limit: int = Option(default=50, short="l", help="Show at most this many sessions.")

    async def handle(self, session: AsyncSession) -> Result:
        from datetime import UTC, datetime

        from app import sessions, users
        from oneoff import counted

        if self.limit < 1:
            raise UsageError(
                f"--limit {self.limit} is less than 1",
                try_="python manage.py session list --limit 50",
            )
        user = await users.get(session, self.user) if self.user else None
        found, total = await sessions.matching(
            session, limit=self.limit, user=user, now=datetime.now(UTC)
        )
        rows = [item.public() for item in found]
        return Result.report(rows, f"{len(rows)} of {counted(total, 'session')}")
