"""`service-account create`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Flag, Option, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from structlog.typing import FilteringBoundLogger as Logger


class Create(BaseCommand):
    """Create a service account for a program that calls the API.

    It has no password and no role. The scopes of its keys define what it may do.
    """

    access = Access.WRITE
    confirm = Confirm.NEVER
    dry_run = DryRun.ROLLBACK
    examples = (
        'service-account create ci --description "Deploys from CI"',
        "service-account create ci --if-not-exists",
    )

    name: str = Argument(help="Letters, digits, '.', '_' and '-'; not case-sensitive.")
    description: str = Option(default="", help="What uses the account.")
    if_not_exists: bool = Flag(help="Succeed and change nothing if the account already exists.")

    async def handle(self, session: AsyncSession, log: Logger) -> Result:
        from app import service_accounts

        account, created = await service_accounts.create(
            session, self.name, description=self.description, if_not_exists=self.if_not_exists
        )
        if not created:
            inactive = f"{account.name} is inactive; see service-account activate"
            return Result.unchanged(
                f"{account.name} already exists",
                data=account.public(),
                warnings=[] if account.active else [inactive],
            )
        log.info("service_account.created", service_account_id=account.id, name=account.name)
        return Result.changed(
            f"created the service account {account.name}", rows=1, data=account.public()
        )
