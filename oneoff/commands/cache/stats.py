"""`cache stats`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import BaseCommand, Result

if TYPE_CHECKING:
    from redis.asyncio import Redis


class Stats(BaseCommand):
    """Show memory, keys, hit rate, evictions and clients of Redis.

    On a cluster, there is one row for each primary and one for all of them.
    """

    examples = ("cache stats", "cache stats --json")

    async def handle(self, cache: Redis) -> Result:
        from oneoff.services.cache import stats

        nodes = await stats.read_stats(cache)
        if len(nodes) == 1:
            return Result.report(nodes[0])
        return Result.report(stats.table(nodes))
