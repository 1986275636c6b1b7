"""`cache inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff import Argument, BaseCommand, Option, Result, UsageError

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from oneoff.config.settings import Config


class Inspect(BaseCommand):
    """Show keys in Redis: type, time to live, size, and start of the value.

    Recognised secrets are masked, and pickles are not shown. Values may still contain personal
    data. The search stops early if only few of very many keys match.
    """

    examples = ("cache inspect 'shop:*' --limit 10", "cache inspect report:latest")

    pattern: str = Argument(default="*", help="A key, or a pattern of keys with *, ? or [ab].")
    limit: int = Option(default=50, help="Show at most this many keys.")

    def __init__(self, **values: Any) -> None:
        """Refuse a limit below 1."""
        super().__init__(**values)
        if self.limit < 1:
            raise UsageError(f"--limit {self.limit} is less than 1")

    async def handle(self, cache: Redis, config: Config) -> Result:
        from oneoff.services.cache.inspection import inspect
        from oneoff.utils.redaction import Redactor
        from oneoff.utils.text import counted

        found = await inspect(cache, self.pattern, self.limit, Redactor(config.environ))
        warnings = []
        if found.given_up_after:
            warnings.append(f"stopped after scanning {found.given_up_after:,} keys; more may match")
        if not found.rows:
            return Result.report([], f"no key matches {self.pattern!r}", warnings=warnings)
        shown = counted(len(found.rows), "key")
        more = "; more keys match: raise --limit" if found.more and not warnings else ""
        return Result.report(found.rows, f"{shown}{more}", warnings=warnings)
