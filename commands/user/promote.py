"""`user promote`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.roles import Role
from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from structlog.typing import FilteringBoundLogger as Logger


class Promote(BaseCommand):
    """Change a user's role.

    The last active admin can't be demoted. Make another user admin first.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.ROLLBACK
    examples = (
        "user promote ada@example.com admin --dry-run",
        "user promote ada moderator --confirm",
    )

    user: str = Argument(help="Username or email.", complete="app.users:usernames")
    role: Role = Argument(help="The new role.")

    async def check_inputs(self, session: AsyncSession) -> None:
        from app import users

        await users.get(session, self.user)

    async def handle(self, session: AsyncSession, log: Logger) -> Result:
        from app import users

        user, before = await users.promote(session, self.user, self.role)
        if before is user.role:
            return Result.unchanged(f"{user.username} is already {user.role}", data=user.public())
        log.info("user.promoted", user_id=user.id, before=before, after=user.role)
        return Result.changed(
            f"{user.username} is now {user.role} (was {before})", rows=1, data=user.public()
        )

    def consequence(self) -> str:
        return f"makes {self.user} {self.role} in {{target}}"
