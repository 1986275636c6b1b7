"""`nest outer`: call other commands."""

from typing import Literal

from oneoff import Access, Argument, BaseCommand, DryRun, Result, call_command


class Outer(BaseCommand):
    """Call a command that writes."""

    access = Access.WRITE
    dry_run = DryRun.PLAN
    examples = ("nest outer", "nest outer 'db rollback'")

    what: Literal["nest inner", "db rollback"] = Argument(default="nest inner", help="Which.")

    async def handle(self, run) -> Result:
        confirm = f"shop@{run.environment}" if self.what == "db rollback" else None
        return await call_command(self.what, confirm=confirm)
