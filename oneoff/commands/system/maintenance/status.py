"""`system maintenance status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, Result

if TYPE_CHECKING:
    from oneoff.config.settings import Config
    from oneoff.core.run import Run


class Status(BaseCommand):
    """Show whether maintenance is on, since when, by whom and why.

    The state in the database is the valid one. Redis has a copy, which processes use while it is at
    most a second old. They use an older copy only if the database is unavailable. The exit code is
    69 if the database does not answer.
    """

    access = Access.READ
    examples = ("system maintenance status", "system maintenance status --json")

    async def handle(self, config: Config, run: Run) -> Result:
        from oneoff.services.maintenance.status import maintenance_status

        return Result.report(await maintenance_status(config, run.id))
