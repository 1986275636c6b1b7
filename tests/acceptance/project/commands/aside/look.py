"""`aside look`: a read-only command with a resource that writes."""

from oneoff import BaseCommand, Result


class Look(BaseCommand):
    """Use a resource that writes when it is opened or closed."""

    examples = ("aside look",)

    async def handle(self, database, scribble) -> Result:
        return Result.unchanged("looked")
