"""`user deactivate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from structlog.typing import FilteringBoundLogger as Logger


class Deactivate(BaseCommand):
    """Stop a user from signing in.

    Nothing is deleted, and `user activate` undoes it. The last active admin can't be deactivated.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.ROLLBACK
    examples = ("user deactivate ada --dry-run", "user deactivate ada@example.com --confirm")

    user: str = Argument(help="Username or email.")

    async def handle(self, session: AsyncSession, log: Logger) -> Result:
        from app import users

        user, was_active = await users.deactivate(session, self.user)
        if not was_active:
            return Result.unchanged(f"{user.username} is already inactive", data=user.public())
        log.info("user.deactivated", user_id=user.id)
        return Result.changed(f"{user.username} is now inactive", rows=1, data=user.public())

    def consequence(self) -> str:
        return f"stops {self.user} from signing in in {{target}}"
