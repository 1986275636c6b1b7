"""`deed session`: a deed in the run's transaction."""

from oneoff import Access, BaseCommand, DryRun, Result


class Session(BaseCommand):
    """Insert one row, with a resource that may fail when it is closed."""

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK
    lock = "deed"
    examples = ("deed session",)

    async def handle(self, scribble, session) -> Result:
        from sqlalchemy import text

        await session.execute(text("INSERT INTO deed DEFAULT VALUES"))
        return Result.changed("did it", rows=1)
