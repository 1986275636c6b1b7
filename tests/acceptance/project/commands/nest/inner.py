"""`nest inner`: write one row under a lock."""

from oneoff import Access, BaseCommand, DryRun, Result


class Inner(BaseCommand):
    """Write one item."""

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK
    lock = "items"
    examples = ("nest inner",)

    async def handle(self, session) -> Result:
        from app.models import Item

        session.add(Item(name="inner"))
        await session.flush()
        return Result.changed("wrote", rows=1)
