"""`apikey rotate`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from oneoff import (
    Access,
    Argument,
    BaseCommand,
    CheckFailed,
    Confirm,
    DryRun,
    Option,
    Result,
    Task,
    duration_text,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from structlog.typing import FilteringBoundLogger as Logger

    from app.settings import Settings


async def old_key_has_grace(session: AsyncSession, command: Rotate) -> None:
    """Check that the successor of the key works, and that the key ends with the grace window."""
    from datetime import UTC, datetime

    from app import apikeys

    old = await apikeys.get(session, command.id)
    if not old.replaced_by_id:
        raise CheckFailed(f"key {old.id} has no successor")
    now, new = datetime.now(UTC), await apikeys.get(session, str(old.replaced_by_id))
    if new.state(now) != "active":
        raise CheckFailed(f"key {new.id}, the successor of key {old.id}, is {new.state(now)}")
    if old.expires_at - now > command.grace:
        raise CheckFailed(f"key {old.id} works longer than {duration_text(command.grace)}")


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
    task = Task(
        "ADM-003",
        category="maintenance",
        owner="Security",
        author="Security",
        created="2026-01-12",
        invoked_by="the owner of the key, each month",
        approval="standing, by the security architect",
        services=("PostgreSQL", "web"),
        data={"api_keys": "2"},
        expected_duration="seconds; the old key works until the grace window ends",
        command="apikey rotate 3 --grace 24h --confirm",
        irreversible="the new key was shown; `apikey revoke` ends it",
        verify=old_key_has_grace,
        afterwards="`apikey list` shows that the old key is not used any more before it ends",
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
        return f"ends the API key {self.id} in {{target}} after {duration_text(self.grace)}"
