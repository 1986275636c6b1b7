"""`cache clear`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff import Access, BaseCommand, Confirm, DryRun, Flag, Option, Result, UsageError

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from structlog.typing import FilteringBoundLogger as Logger

    from oneoff.core.project import Project
    from oneoff.core.run import Run
    from oneoff.runtime.progress import Progress
    from oneoff.services.cache.clear import KeyCounts, KeySelection

KEPT = "arq:*, oneoff:*"


class Clear(BaseCommand):
    """Remove keys from Redis without blocking other clients.

    Without --pattern and --prefix, all keys of the database in REDIS_URL are removed; other
    databases of the server are not changed. Keys of jobs and of oneoff (arq:*, oneoff:*, and the
    worker's own queue) are kept unless --include-jobs is given. On a cluster, the keys of every
    primary are removed.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.PLAN
    aims_at = "redis"
    allow_in_production = True
    examples = (
        "cache clear --pattern 'shop:*' --dry-run",
        "cache clear --prefix 'report[2026]:' --confirm",
        "cache clear --confirm=localhost/0@staging",
        "cache clear --prefix arq: --include-jobs --dry-run",
    )

    pattern: str = Option(
        default="", help="Only keys that match. * is any text, ? is any byte, [ab] is a or b."
    )
    prefix: str = Option(default="", help="Only keys that start with this text, taken literally.")
    include_jobs: bool = Flag(help="Also remove keys of jobs and of oneoff; jobs are lost.")

    def __init__(self, **values: Any) -> None:
        """Refuse contradictory options before the operator has to confirm."""
        super().__init__(**values)
        if self.pattern and self.prefix:
            raise UsageError("--pattern and --prefix can't be used together")

    def confirm_level(self) -> Confirm:
        from oneoff.services.cache.scan import is_everything

        everything = not self.prefix and is_everything(self.pattern)
        return Confirm.TYPE_NAME if everything or self.include_jobs else self.confirm

    def consequence(self) -> str:
        which = "every key"
        if self.prefix or self.pattern:
            which = f"every key that {self._condition()}"
        jobs = "; queued jobs are lost" if self.include_jobs else f" except {KEPT}"
        return f"removes {which} from {{target}}{jobs}"

    def _condition(self) -> str:
        if self.prefix:
            return f"starts with {self.prefix!r}"
        return f"matches {self.pattern or '*'!r}"

    async def handle(
        self, project: Project, cache: Redis, *, progress: Progress, log: Logger, run: Run
    ) -> Result:
        from oneoff.services.cache.clear import KeySelection, count_keys, worker_keys
        from oneoff.services.cache.scan import MOST_DISTINCT, escaped
        from oneoff.utils.text import counted

        pattern = f"{escaped(self.prefix)}*" if self.prefix else self.pattern or "*"
        also_kept = [] if self.include_jobs else worker_keys(project)
        names = frozenset(key.encode() for key in also_kept)
        selection = KeySelection(pattern, self.include_jobs, names)
        progress.start(0, unit="keys")
        if run.dry_run:
            found = await count_keys(cache, selection, progress)
        else:
            found = await _clear(cache, selection, progress, log)
        data = {"pattern": pattern, "keys": found.keys, "kept": found.kept}
        warnings = []
        if found.kept:
            prefixes = ", ".join([KEPT, *also_kept])
            of_jobs = counted(found.kept, "key")
            warnings.append(f"kept {of_jobs} of jobs and of oneoff ({prefixes})")
        if not found.exact:
            warnings.append(
                f"there are more than {MOST_DISTINCT:,} keys, so some may be counted twice: the "
                "real number may be lower"
            )
        if not found.keys:
            message = f"nothing to do: no key {self._condition()}"
            return Result.unchanged(message, data=data, warnings=warnings)
        if not run.dry_run:
            log.info("cache.cleared", pattern=pattern, keys=found.keys, kept=found.kept)
        verb = "would remove" if run.dry_run else "removed"
        message = f"{verb} {counted(found.keys, 'key')}"
        return Result.changed(message, rows=found.keys, data=data, warnings=warnings)


async def _clear(
    cache: Redis, selection: KeySelection, progress: Progress, log: Logger
) -> KeyCounts:
    """Remove the keys; if interrupted, log how many were removed, as no result reports it then."""
    from oneoff.services.cache.clear import clear_keys

    try:
        return await clear_keys(cache, selection, progress)
    except BaseException:
        log.warning("cache.clearing_stopped", pattern=selection.pattern, keys=progress.done)
        raise
