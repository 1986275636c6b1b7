"""`user activate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from structlog.typing import FilteringBoundLogger as Logger


class Activate(BaseCommand):
    """Let a user sign in again.

    Old sessions and API keys stay ended. Create new keys with `apikey create`.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.ROLLBACK
    examples = ("user activate ada --dry-run", "user activate ada --confirm")

    user: str = Argument(help="Username or email.", complete="app.users:usernames")

    async def check_inputs(self, session: AsyncSession) -> None:
        from app import users

        await users.get(session, self.user)

    async def handle(self, session: AsyncSession, log: Logger) -> Result:
        from app import users

        user, was_active, ended = await users.activate(session, self.user)
        if was_active:
            return Result.unchanged(f"{user.username} is already active", data=user.public())
        log.info("user.activated", user_id=user.id, sessions=ended.sessions, keys=ended.keys)
        return Result.changed(
            f"{user.username} is now active" + (f"; {ended}" if any(ended) else ""),
            rows=1 + sum(ended),
            data=user.public(),
        )

    def consequence(self) -> str:
        return f"lets {self.user} sign in again in {{target}}"
