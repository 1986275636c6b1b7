"""`cache clear`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff import Access, BaseCommand, Confirm, DryRun, Flag, Option, Result, UsageError

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from structlog.typing import FilteringBoundLogger as Logger

    from oneoff.resources.progress import Progress
    from oneoff.run import Run

KEPT = "arq:*, oneoff:*"


class Clear(BaseCommand):
    """Remove keys from Redis, without holding up its other clients.

    Without a pattern or a prefix all keys of the database in REDIS_URL are removed; other
    databases of the server are not touched. Keys of jobs and of oneoff itself (arq:*, oneoff:*)
    stay unless --include-jobs says otherwise. On a cluster every primary is cleared.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.PLAN
    aims_at = "redis"
    allow_in_production = True
    examples = (
        "cache clear --pattern 'user:*' --dry-run",
        "cache clear --prefix 'report[2026]:' --confirm",
        "cache clear --confirm=localhost/0@staging",
    )

    pattern: str = Option(default="", help="Keys that match: * and ? stand for any, [ab] for one.")
    prefix: str = Option(default="", help="Keys that begin with this text, taken literally.")
    include_jobs: bool = Flag(help="Remove the keys of jobs and of oneoff too; jobs are lost.")

    def __init__(self, **values: Any) -> None:
        """Refuse contradictions before anybody is asked to confirm them."""
        super().__init__(**values)
        if self.pattern and self.prefix:
            raise UsageError("--pattern and --prefix name the keys twice; give one of them")

    def confirm_level(self) -> Confirm:
        from oneoff.services.glob import is_everything

        everything = not self.prefix and is_everything(self.pattern)
        return Confirm.TYPE_NAME if everything else self.confirm

    def consequence(self) -> str:
        which = "every key"
        if self.prefix:
            which = f"every key that begins with {self.prefix!r}"
        elif self.pattern:
            which = f"every key that matches {self.pattern!r}"
        jobs = "; queued jobs are lost" if self.include_jobs else f", but not {KEPT}"
        return f"removes {which} from {{target}}{jobs}"

    async def handle(self, cache: Redis, progress: Progress, log: Logger, run: Run) -> Result:
        from oneoff.services import glob, keyspace

        pattern = f"{glob.escaped(self.prefix)}*" if self.prefix else self.pattern or "*"
        selection = keyspace.Selection(pattern, include_framework=self.include_jobs)
        progress.start(0)
        work = keyspace.count if run.dry_run else keyspace.clear
        found = await work(cache, selection, progress)
        data = {"pattern": pattern, "keys": found.keys, "kept": found.kept}
        kept = [f"kept {found.kept:,} keys of jobs and of oneoff ({KEPT})"] if found.kept else []
        if not found.keys:
            return Result.unchanged(
                f"nothing to do: no key matches {pattern!r}", data=data, warnings=kept
            )
        if not run.dry_run:
            log.info("cache.cleared", pattern=pattern, keys=found.keys, kept=found.kept)
        verb = "would remove" if run.dry_run else "removed"
        keys = "1 key" if found.keys == 1 else f"{found.keys:,} keys"
        return Result.changed(f"{verb} {keys}", rows=found.keys, data=data, warnings=kept)
