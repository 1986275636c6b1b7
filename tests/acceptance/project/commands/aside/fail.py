"""`aside fail`: an error after a refused write."""

from oneoff import Access, BaseCommand, DataError, DryRun, Result


class Fail(BaseCommand):
    """Write with another engine, hide the error, and raise another one."""

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK
    examples = ("aside fail",)

    async def handle(self, database) -> Result:
        from app.aside import write_and_hide_error

        await write_and_hide_error()
        raise DataError("row 7 is bad")
