"""`system environment`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Result, UsageError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.config.settings import Config
    from oneoff.core.run import Run
    from oneoff.database.engine import Database


class Environment(BaseCommand):
    """Show or store the environment that this database belongs to.

    A run uses the stricter of two environments: the stored one and ENVIRONMENT. Without arguments,
    this command shows both and which of them counts. `set NAME` stores another name, which may be
    less strict. You confirm the database with its present environment; in production, --break-glass
    is needed too.
    """

    access = Access.WRITE
    confirm = Confirm.TYPE_NAME
    dry_run = DryRun.PLAN
    lock = "migrations"  # `migrate` stores the environment too
    examples = (
        "system environment",
        "system environment set staging --dry-run",
        "system environment set staging --confirm=shop@development",
    )

    action: Literal["set"] | None = Argument(default=None, help="`set` stores NAME.")
    name: str = Argument(default="", help="production, staging, development, test, ci, or another.")

    def only_reads(self) -> bool:
        return self.action is None or not self.name  # without NAME, `set` is an error

    def consequence(self) -> str:
        return f"stores that the database {{target}} belongs to {self.name}"

    async def handle(
        self, session: AsyncSession, database: Database, config: Config, run: Run
    ) -> Result:
        from oneoff.services import environment

        connection = await session.connection()
        if self.action is None:
            about = await environment.describe(connection, database.url, config)
            return Result.report(about)
        if not self.name:
            raise UsageError(
                "NAME is missing: the environment to store",
                try_="python manage.py system environment set staging",
            )
        before, changed, warnings = await environment.store(
            connection, database.url, config, self.name, dry_run=run.dry_run
        )
        if not changed:
            message = f"this database already belongs to {self.name}"
            return Result.unchanged(message, warnings=warnings)
        return Result.changed(
            f"this database {'would belong' if run.dry_run else 'now belongs'} to {self.name}"
            + (f" (was {before})" if before else ""),
            rows=1,
            warnings=warnings,
        )
