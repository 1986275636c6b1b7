"""`service-account deactivate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Result, Task

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from structlog.typing import FilteringBoundLogger as Logger


class Deactivate(BaseCommand):
    """Deactivate a service account and revoke all its keys.

    `service-account activate` reactivates it, but its keys stay revoked.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.ROLLBACK
    examples = (
        "service-account deactivate ci --dry-run",
        "service-account deactivate ci --confirm",
    )
    task = Task(
        "ADM-007",
        category="emergency",
        owner="Security",
        author="Security",
        created="2026-01-12",
        invoked_by="the engineer on call, if a key of a program has leaked",
        approval="none before; Security reviews the record afterwards",
        services=("PostgreSQL", "web"),
        data={"service_accounts": "1", "api_keys": "those of the account"},
        expected_duration="seconds",
        irreversible="revoked keys stay revoked; `service-account activate` allows new ones",
        afterwards="create new keys for the program, and store them where it reads them",
    )

    name: str = Argument(
        help="Name of the service account.", complete="app.service_accounts:account_names"
    )

    async def check_inputs(self, session: AsyncSession) -> None:
        from app import service_accounts

        await service_accounts.get(session, self.name)

    async def handle(self, session: AsyncSession, log: Logger) -> Result:
        from app import service_accounts

        account, was_active, revoked = await service_accounts.deactivate(session, self.name)
        if not was_active and not revoked:
            return Result.unchanged(f"{account.name} is already inactive", data=account.public())
        log.info("service_account.deactivated", service_account_id=account.id, revoked_keys=revoked)
        keys = f"{revoked} key{'' if revoked == 1 else 's'}"
        return Result.changed(
            f"{account.name} is now inactive; {keys} revoked",
            rows=revoked + was_active,
            data=account.public(),
        )

    def consequence(self) -> str:
        return f"deactivates the service account {self.name} in {{target}} and revokes its keys"
