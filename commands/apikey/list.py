"""`apikey list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, Flag, Option, Result, UsageError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class List(BaseCommand):
    """List API keys, oldest first.

    The state is active, grace (rotated, still works), owner-inactive, expired or revoked. "Last
    used" is accurate to the minute.
    """

    access = Access.READ
    examples = (
        "apikey list",
        "apikey list --service-account ci --all",
        "apikey list --user ada --limit 200 --json",
    )

    user: str = Option(
        default="", help="Show only keys of this user.", complete="app.users:usernames"
    )
    service_account: str = Option(
        default="",
        help="Show only keys of this service account.",
        complete="app.service_accounts:account_names",
    )
    all: bool = Flag(help="Show expired and revoked keys too.")
    limit: int = Option(default=50, short="l", help="Show at most this many keys.")

    async def handle(self, session: AsyncSession) -> Result:
        from datetime import UTC, datetime

        from app import apikeys
        from oneoff import counted

        if self.limit < 1:
            raise UsageError(
                f"--limit {self.limit} is less than 1",
                try_="python manage.py apikey list --limit 50",
            )
        owner = None
        if self.user or self.service_account:
            owner = await apikeys.find_owner(
                session, user=self.user, service_account=self.service_account
            )
        now = datetime.now(UTC)
        found, total = await apikeys.matching(
            session, limit=self.limit, owner=owner, ended=self.all, now=now
        )
        rows = [key.public(now) for key in found]
        return Result.report(rows, f"{len(rows)} of {counted(total, 'key')}")
