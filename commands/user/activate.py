"""`user activate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from structlog.typing import FilteringBoundLogger as Logger


class Activate(BaseCommand):
    """Let a user sign in again."""

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.ROLLBACK
    examples = ("user activate ada --dry-run", "user activate ada --confirm")

    user: str = Argument(help="Username or email.")

    async def handle(self, session: AsyncSession, log: Logger) -> Result:
        from app import users

        user, was_active = await users.activate(session, self.user)
        if was_active:
            return Result.unchanged(f"{user.username} is already active", data=user.public())
        log.info("user.activated", user_id=user.id)
        return Result.changed(f"{user.username} is now active", rows=1, data=user.public())

    def consequence(self) -> str:
        return f"lets {self.user} sign in again in {{target}}"
