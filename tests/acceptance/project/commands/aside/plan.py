"""`aside plan`: a plan that writes."""

from oneoff import Access, BaseCommand, DryRun, Result


class Plan(BaseCommand):
    """Declare a plan, and write in it."""

    access = Access.WRITE
    dry_run = DryRun.PLAN
    examples = ("aside plan",)

    async def handle(self) -> Result:
        from app.aside import write_and_hide_error

        await write_and_hide_error()
        return Result.changed("wrote")
