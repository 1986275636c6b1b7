"""`commands new`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, DryRun, Option, Result
from oneoff.core.task import CATEGORIES

if TYPE_CHECKING:
    from oneoff.config.settings import Config
    from oneoff.core.run import Run
    from oneoff.runtime.registry.registry import Registry


class New(BaseCommand):
    """Create a command and its test.

    The command runs and its test passes; edit both to do what you need. The name is a path:
    `report daily` becomes report/daily.py in the project's package of commands. Existing files are
    never overwritten. With --task it is an admin task: `commands check` fails until its fields are
    filled in.
    """

    access = Access.WRITE
    dry_run = DryRun.PLAN
    examples = (
        "commands new report daily",
        "commands new report/daily --dry-run",
        "commands new user normalize-emails --task data-fix",
    )

    name: list[str] = Argument(help="Name of the command: its group, if any, and a verb.")
    package: str = Option(default="", help="Package of the command (default: the project's first).")
    task_: str = Option(
        default="",
        choices=CATEGORIES,
        help="Create an admin task of this category.",
    )

    def handle(self, config: Config, registry: Registry, run: Run) -> Result:
        from oneoff.services import scaffold

        words = scaffold.words_of(self.name)
        package = self.package or config.project.commands[0]
        if self.task_:
            from oneoff.services.tasks import catalogue, template

            known = catalogue.read_catalogue(registry, config.project)
            templates = template.templates(self.task_, known)
            files = scaffold.plan(config.root, package, words, registry, templates)
        else:
            files = scaffold.plan(config.root, package, words, registry)
        shown = [{"file": str(file.path.relative_to(config.root))} for file in files]
        if not run.dry_run:
            scaffold.write(files)
        done = "would write" if run.dry_run else "wrote"
        return Result.changed(f"{done} the command {' '.join(words)!r} and its test", data=shown)
