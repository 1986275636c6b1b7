"""`user list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.roles import Role
from oneoff import Access, BaseCommand, Flag, Option, Result, UsageError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class List(BaseCommand):
    """List users, oldest first."""

    access = Access.READ
    examples = (
        "user list",
        "user list --role admin --active-only",
        "user list --search @example.com --limit 200 --json",
    )

    limit: int = Option(default=50, short="l", help="Show at most this many users.")
    active_only: bool = Flag(help="Hide deactivated users.")
    role: Role | None = Option(default=None, help="Show only users with this role.")
    search: str = Option(default="", help="Show only users whose username or email contains this.")

    async def handle(self, session: AsyncSession) -> Result:
        from app import users
        from oneoff import counted

        if self.limit < 1:
            raise UsageError(
                f"--limit {self.limit} is less than 1",
                try_="python manage.py user list --limit 50",
            )
        found, total = await users.matching(
            session,
            limit=self.limit,
            active_only=self.active_only,
            role=self.role,
            search=self.search,
        )
        rows = [user.public() for user in found]
        return Result.report(rows, f"{len(rows)} of {counted(total, 'user')}")
