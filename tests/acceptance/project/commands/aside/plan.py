"""`aside plan`: a plan that does the work."""

from oneoff import Access, BaseCommand, DryRun, Result


class Plan(BaseCommand):
    """Promise a plan, and do the work without looking."""

    access = Access.WRITE
    dry_run = DryRun.PLAN
    examples = ("aside plan",)

    async def handle(self) -> Result:
        from app.aside import write_in_spite

        await write_in_spite()
        return Result.changed("wrote")
