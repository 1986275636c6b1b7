"""`deed effect`: a deed with an effect outside the database, which is stored with it."""

from oneoff import Access, BaseCommand, DryRun, Result, put_effect


class Effect(BaseCommand):
    """Insert one row and store one effect."""

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK
    examples = ("deed effect",)

    async def handle(self, session, cache) -> Result:
        from sqlalchemy import text

        await cache.get("deed")
        await session.execute(text("INSERT INTO deed DEFAULT VALUES"))
        await put_effect(session, "deed.done", {})
        return Result.changed("did it", rows=1)
