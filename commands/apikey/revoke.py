"""`apikey revoke`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from structlog.typing import FilteringBoundLogger as Logger


class Revoke(BaseCommand):
    """Revoke an API key immediately and permanently.

    If the key was rotated, its successor is not revoked and continues to work.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.ROLLBACK
    examples = ("apikey revoke 3 --dry-run", "apikey revoke shop_4Tf9sKq2 --confirm")

    id: str = Argument(help="Number or prefix of the key; see apikey list.")

    def __init__(self, **values: Any) -> None:
        """Refuse a complete key before the confirmation, which would show it."""
        from app import apikey_format

        super().__init__(**values)
        apikey_format.refuse_key(self.id)

    async def check_inputs(self, session: AsyncSession) -> None:
        from app import apikeys

        await apikeys.get(session, self.id)

    async def handle(self, session: AsyncSession, log: Logger) -> Result:
        from datetime import UTC, datetime

        from app import apikeys

        now = datetime.now(UTC)
        key, was_working = await apikeys.revoke(session, self.id, now=now)
        data, warnings = key.public(now), []
        if key.replaced_by_id:
            warnings.append(f"its successor is key {key.replaced_by_id}, which is not revoked")
        if not was_working:
            return Result.unchanged(
                f"key {key.id} has already ended: it is {key.state(now)}",
                data=data,
                warnings=warnings,
            )
        log.info("apikey.revoked", key_id=key.id, kind=key.kind, owner=key.owner_name)
        return Result.changed(
            f"key {key.id} ({key.prefix}) of {key.owner_name} is revoked",
            rows=1,
            data=data,
            warnings=warnings,
        )

    def consequence(self) -> str:
        return f"revokes the API key {self.id} in {{target}}; programs that use it lose access"
