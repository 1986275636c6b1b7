"""`nest preview-first`: call one command as a dry run, then call another."""

from contextlib import suppress

from oneoff import Access, BaseCommand, CommandError, DryRun, Result, call_command


class PreviewFirst(BaseCommand):
    """Call a failing command as a dry run, and then call one that writes."""

    access = Access.WRITE
    dry_run = DryRun.PLAN
    examples = ("nest preview-first",)

    async def handle(self) -> Result:
        with suppress(CommandError):
            await call_command("db rollback", to="no-such-revision", dry_run=True)
        return await call_command("nest inner")
