"""`deed database`: a deed that the command commits itself."""

from oneoff import Access, BaseCommand, DryRun, Result


class Database(BaseCommand):
    """Insert one row in a transaction of its own, unless it is there."""

    access = Access.WRITE
    dry_run = DryRun.PLAN
    examples = ("deed database",)

    async def handle(self, database) -> Result:
        from sqlalchemy import text

        async with database.engine.begin() as connection:
            await connection.execute(text("INSERT INTO deed VALUES (1) ON CONFLICT DO NOTHING"))
        return Result.changed("did it", rows=1)
