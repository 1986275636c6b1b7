"""`system maintenance status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, Result

if TYPE_CHECKING:
    from oneoff.config.settings import Config
    from oneoff.core.project import Project
    from oneoff.core.run import Run


class Status(BaseCommand):
    """Show whether maintenance is on, since when, by whom and why.

    What counts is what the database says. Redis has a copy, which processes believe for a second;
    an older one is ignored, and left there for the day the database is away. Exit code 69: the
    database does not answer.
    """

    access = Access.READ
    examples = ("system maintenance status", "system maintenance status --json")

    async def handle(self, config: Config, project: Project, run: Run) -> Result:
        from oneoff.services.maintenance.status import maintenance_status

        return Result.report(await maintenance_status(config, project, run.id))
