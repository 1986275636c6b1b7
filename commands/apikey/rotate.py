"""`apikey rotate`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Option, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from structlog.typing import FilteringBoundLogger as Logger

    from app.settings import Settings


class Rotate(BaseCommand):
    """Replace an API key; the old key still works for a grace period.

    The new key has the same owner, scopes, name and lifetime. It is shown once.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.ROLLBACK
    examples = (
        "apikey rotate 3 --dry-run",
        "apikey rotate 3 --grace 2h --confirm --quiet > key.txt",
        "apikey rotate shop_4Tf9sKq2 --grace 0s --confirm",
    )

    id: str = Argument(help="Number or prefix of the key; see apikey list.")
    grace: timedelta = Option(
        default=timedelta(days=1), help="How long the old key still works; 0s ends it now."
    )

    def __init__(self, **values: Any) -> None:
        """Refuse a complete key before the confirmation, which would show it."""
        from app import apikey_format

        super().__init__(**values)
        apikey_format.refuse_key(self.id)

    async def check_inputs(self, session: AsyncSession) -> None:
        from app import apikeys

        await apikeys.get(session, self.id)

    async def handle(self, session: AsyncSession, settings: Settings, log: Logger) -> Result:
        from datetime import UTC, datetime

        from app import apikeys

        now = datetime.now(UTC)
        old, new, text = await apikeys.rotate(
            session,
            self.id,
            grace=self.grace,
            longest=timedelta(days=settings.api_key_max_days),
            now=now,
        )
        log.info("apikey.rotated", key_id=old.id, new_key_id=new.id, owner=new.owner_name)
        works = old.state(now) == "grace"
        until = f"works until {old.expires_at:%Y-%m-%d %H:%M} UTC" if works else "has ended"
        return Result.changed(
            f"key {new.id} ({new.prefix}) of {new.owner_name} replaces key {old.id}, which {until}",
            rows=2,
            data=new.public(now),
            show_once={"key": text.reveal()},
        )

    def consequence(self) -> str:
        from oneoff import duration_text

        return f"ends the API key {self.id} in {{target}} after {duration_text(self.grace)}"
