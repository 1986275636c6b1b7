"""`task docs`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, CheckFailed, DryRun, Flag, Option, Result, counted

if TYPE_CHECKING:
    from oneoff.config.settings import Config
    from oneoff.core.project import Project
    from oneoff.core.run import Run
    from oneoff.runtime.registry.registry import Registry


class Docs(BaseCommand):
    """Write the catalogue of admin tasks as Markdown pages.

    There is a table of all tasks, and a page for each. They hold what is declared. What differs
    from run to run is in the record: `task show`. In the folder, pages of tasks that no longer
    exist are deleted, and other files are kept.
    """

    access = Access.WRITE
    dry_run = DryRun.PLAN
    examples = ("task docs", "task docs --check", "task docs -o docs/operations")

    output: Path = Option(
        default=Path("docs/tasks"),
        short="o",
        help="The folder to write; a relative path starts at the project's root.",
    )
    check: bool = Flag(help="Write nothing; exit 3 if a page is missing or out of date.")

    def only_reads(self) -> bool:
        return self.check

    def handle(self, config: Config, registry: Registry, project: Project, run: Run) -> Result:
        from oneoff.services.tasks import files

        stale = files.stale_files(config.root / self.output, registry, project)
        if not stale:
            return Result.unchanged(f"{self.output} is up to date")
        names = [{"file": str(self.output / file.path.name)} for file in stale]
        if self.check:
            raise CheckFailed(
                f"{self.output} is out of date: {counted(len(stale), 'page')}",
                why="the pages differ from what the commands declare",
                try_=f"python manage.py task docs -o {self.output}",
                code="catalogue-stale",
                data=names,
            )
        if run.dry_run:
            return Result.changed(f"would write {counted(len(stale), 'page')}", data=names)
        files.write(stale)
        return Result.changed(f"wrote {counted(len(stale), 'page')} in {self.output}", data=names)
