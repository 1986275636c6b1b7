"""`session revoke`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Result, Task

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from structlog.typing import FilteringBoundLogger as Logger


class Revoke(BaseCommand):
    """End a session immediately.

    The user can sign in again. `user deactivate` ends all sessions and API keys of a user, and so
    does `user reset-password`.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.ROLLBACK
    examples = ("session revoke 3 --dry-run", "session revoke 3 --confirm")
    task = Task(
        "ADM-010",
        category="emergency",
        owner="Security",
        author="Security",
        created="2026-01-12",
        invoked_by="support, if a user has lost a device",
        approval="the user asks for it, in the ticket",
        services=("PostgreSQL", "web"),
        data={"sessions": "1"},
        expected_duration="seconds",
        irreversible="the session has ended; the user signs in again",
        afterwards="the user sees only known sessions: `session list`",
    )

    id: int = Argument(help="Number of the session; see session list.")

    async def handle(self, session: AsyncSession, log: Logger) -> Result:
        from app import sessions

        ended = await sessions.end(session, self.id)
        log.info("session.revoked", session_id=ended.id, user_id=ended.user_id)
        return Result.changed(
            f"session {ended.id} of {ended.user.username} is revoked", rows=1, data=ended.public()
        )

    def consequence(self) -> str:
        return f"ends session {self.id} in {{target}}"
