"""`deed unsupported`: a deed of a command without a dry run."""

from oneoff import Access, BaseCommand, Confirm, DryRun, Result


class Unsupported(BaseCommand):
    """Insert one row; a dry run is not supported."""

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.UNSUPPORTED
    examples = ("deed unsupported --confirm",)

    async def handle(self, work, session) -> Result:
        from sqlalchemy import text

        await session.execute(text("INSERT INTO deed DEFAULT VALUES"))
        return Result.changed("did it", rows=1)
