"""`aside rollback`: work that no rollback of the session would undo."""

from oneoff import Access, BaseCommand, DryRun, Result


class Rollback(BaseCommand):
    """Promise a dry run, and write by another engine, error or not."""

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK
    examples = ("aside rollback",)

    async def handle(self, database) -> Result:
        from app.aside import write_in_spite

        await write_in_spite()
        return Result.changed("wrote")
