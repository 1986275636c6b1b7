"""`apikey create`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from app.scopes import Scope
from oneoff import Access, BaseCommand, Confirm, DryRun, Option, Result

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession
    from structlog.typing import FilteringBoundLogger as Logger

    from app.settings import Settings


class Create(BaseCommand):
    """Create an API key for a user or a service account.

    The key is shown once. Only its hash is stored, so the key can't be shown again. With --quiet,
    only the key is printed.
    """

    access = Access.WRITE
    confirm = Confirm.NEVER
    dry_run = DryRun.ROLLBACK
    examples = (
        "apikey create --service-account ci --scope read --scope write --name deploy",
        "apikey create --user ada --expires 30d",
        "apikey create --service-account ci --quiet > key.txt",
    )

    user: str = Option(
        default="", help="Username or email of the owner.", complete="app.users:usernames"
    )
    service_account: str = Option(
        default="",
        help="Name of the service account that owns it.",
        complete="app.service_accounts:account_names",
    )
    expires: timedelta | None = Option(
        default=None,
        help="How long the key works (default: 90d); at most API_KEY_MAX_DAYS.",
    )
    scope: list[Scope] = Option(default=[Scope.READ], help="A scope of the key; may be repeated.")
    name: str = Option(default="", help="A label for the key.")

    async def handle(self, session: AsyncSession, settings: Settings, log: Logger) -> Result:
        from datetime import UTC, datetime

        from app import apikeys

        owner = await apikeys.find_owner(
            session, user=self.user, service_account=self.service_account
        )
        key, text = await apikeys.create(
            session,
            owner,
            granted=frozenset(self.scope),
            lifetime=self.expires,
            longest=timedelta(days=settings.api_key_max_days),
            name=self.name,
        )
        log.info("apikey.created", key_id=key.id, kind=key.kind, owner=key.owner_name)
        return Result.changed(
            f"created key {key.id} ({key.prefix}) of {key.owner_name}: {key.scopes}, "
            f"expires {_end_text(key.expires_at, key.created_at)}",
            rows=1,
            data=key.public(datetime.now(UTC)),
            show_once={"key": text.reveal()},
        )


def _end_text(end: datetime, now: datetime) -> str:
    """Return the date; if the key works for less than two days, also the time."""
    short = end - now < timedelta(days=2)
    return f"{end:%Y-%m-%d %H:%M:%S} UTC" if short else f"{end:%Y-%m-%d}"
