"""`service-account activate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from structlog.typing import FilteringBoundLogger as Logger


class Activate(BaseCommand):
    """Reactivate a service account.

    Its old keys stay revoked. Create new ones with `apikey create`.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.ROLLBACK
    examples = ("service-account activate ci --dry-run", "service-account activate ci --confirm")

    name: str = Argument(
        help="Name of the service account.", complete="app.service_accounts:account_names"
    )

    async def check_inputs(self, session: AsyncSession) -> None:
        from app import service_accounts

        await service_accounts.get(session, self.name)

    async def handle(self, session: AsyncSession, log: Logger) -> Result:
        from app import service_accounts

        account, was_active = await service_accounts.activate(session, self.name)
        if was_active:
            return Result.unchanged(f"{account.name} is already active", data=account.public())
        log.info("service_account.activated", service_account_id=account.id)
        return Result.changed(f"{account.name} is now active", rows=1, data=account.public())

    def consequence(self) -> str:
        return f"reactivates the service account {self.name} in {{target}}"
