"""`commands check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, CommandError, Result

if TYPE_CHECKING:
    from oneoff.core.project import Project
    from oneoff.runtime.registry.registry import Registry


class Check(BaseCommand):
    """Import every command and check its declarations.

    It finds modules that can't be imported, duplicate names, resources without a provider, inputs
    that contradict each other, examples that can't be parsed, and admin tasks with fields that are
    missing or wrong. It is meant for CI: the exit code is 1 if it finds a problem. An entry of
    `Project(pii=...)` that is no column of the models is a warning.
    """

    access = Access.READ
    examples = ("commands check",)

    def handle(self, registry: Registry, project: Project) -> Result:
        from oneoff.runtime.registry.checks import findings
        from oneoff.services.tasks import findings as tasks
        from oneoff.utils.text import counted

        found = [
            {"command": name, "file": file, "problem": problem}
            for name, file, problem in (
                *findings(registry, project),
                *tasks.findings(registry, project),
            )
        ]
        count = len(registry.names())
        if found:
            broken = len({finding["file"] for finding in found})
            raise CommandError(
                f"{broken} of {counted(count, 'command')} can't be used",
                try_="correct the files named above",
                code="commands-broken",
                data=found,
            )
        warnings = _unmatched(project) if project.pii else []
        return Result.unchanged(f"all {count} commands are fine", warnings=warnings)


def _unmatched(project: Project) -> list[str]:
    """Return a warning for each entry of `Project(pii=...)` that no model has."""
    from oneoff.services.data.tables import unmatched_personal_columns

    return [
        f"Project(pii=...) names {name!r}, which is no column of the models: "
        "a misspelled name masks nothing"
        for name in unmatched_personal_columns(project)
    ]
