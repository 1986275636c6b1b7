"""`user show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Show(BaseCommand):
    """Show one user."""

    access = Access.READ
    examples = ("user show ada", "user show ada@example.com --json")

    user: str = Argument(help="Username or email.", complete="app.users:usernames")

    async def handle(self, session: AsyncSession) -> Result:
        from app import users

        user = await users.get(session, self.user)
        return Result.report(user.public())
