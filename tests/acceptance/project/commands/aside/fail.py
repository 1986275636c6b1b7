"""`aside fail`: an error behind a refused write."""

from oneoff import Access, BaseCommand, DataError, DryRun, Result


class Fail(BaseCommand):
    """Write by another engine, hide the error, and fail with another one."""

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK
    examples = ("aside fail",)

    async def handle(self, database) -> Result:
        from app.aside import write_in_spite

        await write_in_spite()
        raise DataError("row 7 is bad")
