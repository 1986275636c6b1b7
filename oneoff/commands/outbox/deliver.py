"""`outbox deliver`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from oneoff import Access, BaseCommand, DryRun, Flag, Option, Result, UsageError

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger as Logger

    from oneoff.core.project import Project
    from oneoff.core.run import Run
    from oneoff.database.engine import Database


class Deliver(BaseCommand):
    """Deliver the effects in the outbox: mails, calls, jobs.

    Each effect is tried once, in its own transaction, and marked when it is delivered. After a
    crash between the two it is delivered again. The row count of the run is the number of effects.
    """

    access = Access.WRITE
    dry_run = DryRun.PLAN
    examples = ("outbox deliver --dry-run", "outbox deliver --max-time 50s")

    max_rows: int | None = Option(
        default=None, help="Stop after this many effects (default: no limit)."
    )
    max_time: timedelta | None = Option(
        default=None, help="Start no further effect after this time: 90s, 2h."
    )
    given_up: bool = Flag(
        help="Also try effects that were given up, or whose next attempt is not due yet."
    )

    async def check_inputs(self) -> None:
        from oneoff.services.batch.command import bound_problems

        if wrong := bound_problems(self.max_rows, self.max_time):
            raise UsageError(wrong)

    async def handle(
        self,
        database: Database,
        project: Project,
        open: Callable[[str], Awaitable[Any]],  # noqa: A002 - the name of the resource
        *,
        log: Logger,
        run: Run,
    ) -> Result:
        from oneoff.services.outbox.delivery import load_handlers, resources_of
        from oneoff.services.outbox.run import deliver_all, preview, result_of

        handlers = load_handlers(project)
        if run.dry_run:
            return await preview(database, handlers, given_up=self.given_up)
        given = {name: await open(name) for name in resources_of(handlers)}
        seconds = self.max_time.total_seconds() if self.max_time else 0.0
        bounds = {"max_rows": self.max_rows or 0, "max_seconds": seconds, "given_up": self.given_up}
        delivered = await deliver_all(database, handlers, given, **bounds)
        log.info("outbox.delivered", effects=dict(delivered.done))
        return result_of(delivered)
