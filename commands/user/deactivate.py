"""`user deactivate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Result, Task

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from structlog.typing import FilteringBoundLogger as Logger


class Deactivate(BaseCommand):
    """Stop a user from signing in, and end the user's sessions and API keys.

    `user activate` lets the user sign in again, but the sessions and keys stay ended. The last
    active admin can't be deactivated.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.ROLLBACK
    examples = ("user deactivate ada --dry-run", "user deactivate ada@example.com --confirm")
    task = Task(
        "ADM-006",
        category="emergency",
        owner="Security",
        author="Security",
        created="2026-01-12",
        invoked_by="the engineer on call, if an account is misused",
        approval="none before; Security reviews the record afterwards",
        services=("PostgreSQL", "web"),
        data={"users": "1", "sessions": "those of the user", "api_keys": "those of the user"},
        expected_duration="seconds",
        rollback="user activate USER",
        afterwards="tell the user how to get access again",
    )

    user: str = Argument(help="Username or email.", complete="app.users:usernames")

    async def check_inputs(self, session: AsyncSession) -> None:
        from app import users

        await users.get(session, self.user)

    async def handle(self, session: AsyncSession, log: Logger) -> Result:
        from app import users

        user, was_active, ended = await users.deactivate(session, self.user)
        if not was_active and not any(ended):
            return Result.unchanged(f"{user.username} is already inactive", data=user.public())
        log.info("user.deactivated", user_id=user.id, sessions=ended.sessions, keys=ended.keys)
        return Result.changed(
            f"{user.username} is now inactive" + (f"; {ended}" if any(ended) else ""),
            rows=was_active + sum(ended),
            data=user.public(),
        )

    def consequence(self) -> str:
        return f"deactivates {self.user} in {{target}} and ends all sessions and API keys"
