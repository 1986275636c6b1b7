"""`aside provider`: a resource that writes by itself."""

from oneoff import Access, BaseCommand, DryRun, Result


class Provider(BaseCommand):
    """Promise a dry run, and ask for what writes while it is opened or closed."""

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK
    examples = ("aside provider",)

    async def handle(self, database, scribble) -> Result:
        return Result.changed("wrote")
