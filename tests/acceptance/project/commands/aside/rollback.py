"""`aside rollback`: work that a rollback of the session does not undo."""

from oneoff import Access, BaseCommand, DryRun, Result


class Rollback(BaseCommand):
    """Declare a dry run, write with another engine, and hide the error."""

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK
    examples = ("aside rollback",)

    async def handle(self, database) -> Result:
        from app.aside import write_and_hide_error

        await write_and_hide_error()
        return Result.changed("wrote")
