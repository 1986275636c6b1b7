"""`nest preview-first`: preview one command, then run another."""

from contextlib import suppress

from oneoff import Access, BaseCommand, CommandError, DryRun, Result, call_command


class PreviewFirst(BaseCommand):
    """Preview a command that fails, and then call one that writes."""

    access = Access.WRITE
    dry_run = DryRun.PLAN
    examples = ("nest preview-first",)

    async def handle(self) -> Result:
        with suppress(CommandError):
            await call_command("db rollback", to="no-such-revision", dry_run=True)
        return await call_command("nest inner")
