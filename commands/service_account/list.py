"""`service-account list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, Flag, Option, Result, UsageError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class List(BaseCommand):
    """List service accounts, sorted by name."""

    access = Access.READ
    examples = ("service-account list", "service-account list --active-only --json")

    limit: int = Option(default=50, short="l", help="Show at most this many accounts.")
    active_only: bool = Flag(help="Hide deactivated accounts.")

    async def handle(self, session: AsyncSession) -> Result:
        from app import service_accounts
        from oneoff import counted

        if self.limit < 1:
            raise UsageError(
                f"--limit {self.limit} is less than 1",
                try_="python manage.py service-account list --limit 50",
            )
        found, total = await service_accounts.matching(
            session, limit=self.limit, active_only=self.active_only
        )
        rows = [account.public() for account in found]
        return Result.report(rows, f"{len(rows)} of {counted(total, 'service account')}")
