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
    """Show which environment this database belongs to, or store another one.

    A run is in the stricter of what is stored and what ENVIRONMENT says. Without arguments both
    are shown, and which of them counts. `set NAME` stores another name, a less strict one too:
    what is confirmed is the database with the environment it is in now, and in production it
    takes --break-glass.
    """

    access = Access.WRITE
    confirm = Confirm.TYPE_NAME
    dry_run = DryRun.PLAN
    examples = (
        "system environment",
        "system environment set staging --dry-run",
        "system environment set staging --confirm=shop@development",
    )

    action: Literal["set"] | None = Argument(default=None, help="`set`, to store a name.")
    name: str = Argument(default="", help="production, staging, development, test, ci, or yours.")

    def only_reads(self) -> bool:
        return self.action is None or not self.name  # `set` alone is an error, which asks nobody

    def consequence(self) -> str:
        return f"stores that the database of {{target}} belongs to {self.name}"

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
                "NAME is missing: which environment to store",
                try_="python manage.py system environment set staging",
            )
        before, changed, warnings = await environment.store(
            connection, database.url, config, self.name, dry_run=run.dry_run
        )
        if not changed:
            message = f"this database belongs to {self.name} already"
            return Result.unchanged(message, warnings=warnings)
        return Result.changed(
            f"this database {'would belong' if run.dry_run else 'belongs'} to {self.name} now"
            + (f" (was {before})" if before else ""),
            rows=1,
            warnings=warnings,
        )
