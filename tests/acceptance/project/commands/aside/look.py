"""`aside look`: a reading command whose resource writes."""

from oneoff import BaseCommand, Result


class Look(BaseCommand):
    """Ask for what writes while it is opened or closed."""

    examples = ("aside look",)

    async def handle(self, database, scribble) -> Result:
        return Result.unchanged("looked")
