"""`aside save`: commit a row, and fail when the resource is closed."""

from oneoff import Access, BaseCommand, DryRun, Result


class Save(BaseCommand):
    """Insert a row, with a resource that fails when it is closed."""

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK
    examples = ("aside save",)

    async def handle(self, scribble, session) -> Result:
        from app.aside import INSERT

        await session.execute(INSERT)
        return Result.changed("saved")
