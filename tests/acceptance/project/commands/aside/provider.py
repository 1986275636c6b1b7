"""`aside provider`: a resource that writes."""

from oneoff import Access, BaseCommand, DryRun, Result


class Provider(BaseCommand):
    """Declare a dry run, and use a resource that writes when it is opened or closed."""

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK
    examples = ("aside provider",)

    async def handle(self, database, scribble) -> Result:
        return Result.changed("wrote")
