"""`deed plan`: a deed that can't be rolled back."""

from oneoff import Access, BaseCommand, DryRun, Result


class Plan(BaseCommand):
    """Increment a counter in Redis."""

    access = Access.WRITE
    dry_run = DryRun.PLAN
    examples = ("deed plan",)

    async def handle(self, cache, scribble) -> Result:
        await cache.incr("deed")
        return Result.changed("did it", rows=1)
