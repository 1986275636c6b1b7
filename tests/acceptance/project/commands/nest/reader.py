"""`nest reader`: call a command that writes from one that only reads."""

from oneoff import BaseCommand, Flag, Result, call_command


class Reader(BaseCommand):
    """Call a command that writes."""

    examples = ("nest reader",)

    preview: bool = Flag(help="Call it as a dry run.")

    async def handle(self) -> Result:
        return await call_command("nest inner", dry_run=self.preview)
