"""`cache warm`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff import Access, Argument, BaseCommand, DryRun, Option, Result, UsageError

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from structlog.typing import FilteringBoundLogger as Logger

    from oneoff.core.project import Project
    from oneoff.core.run import Run
    from oneoff.database.engine import Database
    from oneoff.runtime.progress import Progress


class Warm(BaseCommand):
    """Fill the cache with the project's warmers before it is needed.

    Existing entries are written again. The row count is the number of warmers; the output shows
    how many keys each one wrote.
    """

    access = Access.WRITE
    dry_run = DryRun.PLAN
    aims_at = "redis"
    examples = ("cache warm", "cache warm user-counts --dry-run")

    name: str = Argument(default="", help="Name of one warmer (default: all).")
    concurrency: int = Option(default=4, help="Run this many warmers at a time.")

    def __init__(self, **values: Any) -> None:
        """Refuse a concurrency below 1."""
        super().__init__(**values)
        if self.concurrency < 1:
            raise UsageError(f"--concurrency {self.concurrency} is less than 1")

    async def handle(
        self,
        project: Project,
        database: Database,
        cache: Redis,
        *,
        progress: Progress,
        log: Logger,
        run: Run,
    ) -> Result:
        from oneoff.services.cache.warmers import choose_warmers, run_warmers
        from oneoff.utils.text import counted

        warmers = choose_warmers(project, self.name)
        if run.dry_run:
            plan = [{"warmer": warmer.name, "fills": warmer.help} for warmer in warmers]
            message = f"would run {counted(len(plan), 'warmer')}"
            return Result.changed(message, rows=len(plan), data=plan)
        done = await run_warmers(warmers, database, cache, progress, concurrency=self.concurrency)
        keys = sum(one["keys"] for one in done)
        log.info("cache.warmed", warmers=[one["warmer"] for one in done], keys=keys)
        message = f"ran {counted(len(done), 'warmer')}: {counted(keys, 'key')}"
        return Result.changed(message, rows=len(done), data=done)
