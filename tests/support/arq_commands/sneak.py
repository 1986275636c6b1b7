"""`sneak`."""

from __future__ import annotations

from contextlib import suppress

from oneoff import Access, BaseCommand, CommandError, DryRun, Result
from oneoff.config.settings import Config


class Sneak(BaseCommand):
    """Write through another client, and swallow the error."""

    access = Access.WRITE
    dry_run = DryRun.PLAN
    examples = ("sneak --dry-run",)

    async def handle(self, config: Config) -> Result:
        """Write a key to Redis."""
        from redis.asyncio import Redis

        async with Redis.from_url(config.redis_url) as client:
            with suppress(CommandError):
                await client.set("sneaked", 1)
        return Result.changed("ignored errors", rows=1)
