"""`deed own`: a deed through a resource of the project that uses the run's session."""

from oneoff import Access, BaseCommand, DryRun, Result


class Own(BaseCommand):
    """Insert one row through a resource of the project."""

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK
    examples = ("deed own",)

    async def handle(self, ledger) -> Result:
        await ledger.add()
        return Result.changed("did it", rows=1)
