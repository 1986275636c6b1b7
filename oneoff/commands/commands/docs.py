"""`commands docs`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, CheckFailed, DryRun, Flag, Option, Result

if TYPE_CHECKING:
    from oneoff.config.settings import Config
    from oneoff.core.run import Run
    from oneoff.runtime.registry.registry import Registry


class Docs(BaseCommand):
    """Write a reference of all commands as one Markdown page."""

    access = Access.WRITE
    dry_run = DryRun.PLAN
    examples = ("commands docs", "commands docs --check", "commands docs -o commands.md")

    output: Path = Option(
        default=Path("docs/reference/commands.md"),
        short="o",
        help="The file to write; a relative path starts at the project's root.",
    )
    check: bool = Flag(help="Write nothing; exit 3 if the page is out of date.")

    def only_reads(self) -> bool:
        return self.check

    def handle(self, config: Config, registry: Registry, run: Run) -> Result:
        from oneoff.services.help.reference import markdown

        path, text = config.root / self.output, markdown(registry)
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            return Result.unchanged(f"{self.output} is up to date")
        if self.check:
            raise CheckFailed(
                f"{self.output} is out of date",
                why="the page differs from what the commands declare",
                try_=f"python manage.py commands docs -o {self.output}",
                code="reference-stale",
            )
        if run.dry_run:
            return Result.changed(f"would write {self.output}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return Result.changed(f"wrote {self.output}")
