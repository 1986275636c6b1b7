"""`db seed`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.core.project import Project
    from oneoff.core.run import Run


class Seed(BaseCommand):
    """Load the sample data that is missing; existing rows are not changed.

    In production, only seeds that declare `production=True` are loaded.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.ROLLBACK
    examples = ("db seed --confirm", "db seed users --dry-run")

    name: str = Argument(default="", help="Name of one seed (default: all seeds).")

    def consequence(self) -> str:
        what = f"the sample data of {self.name}" if self.name else "sample data"
        return f"loads {what} into {{target}}"

    async def check_inputs(self, project: Project, run: Run) -> None:
        from oneoff.services.migrations.seed import choose_seeds

        choose_seeds(project, run, self.name)

    async def handle(self, session: AsyncSession, project: Project, run: Run) -> Result:
        from oneoff.services.migrations.seed import choose_seeds, load_seeds
        from oneoff.utils.text import counted

        seeds, left_out = choose_seeds(project, run, self.name)
        loaded = await load_seeds(session, seeds)
        rows = sum(seed["rows"] for seed in loaded)
        warnings = [f"skipped in {run.environment}: {', '.join(left_out)}"] if left_out else []
        if not rows:
            return Result.unchanged("nothing to do: all rows exist", warnings=warnings)
        message = f"loaded {counted(rows, 'row')}"
        return Result.changed(message, rows=rows, data=loaded, warnings=warnings)
