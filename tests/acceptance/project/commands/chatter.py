"""`chatter`: print to standard output."""

from oneoff import BaseCommand, Result


class Chatter(BaseCommand):
    """Print a line, as library code may do."""

    examples = ("chatter --json",)

    async def handle(self) -> Result:
        print("chatter on the way")
        return Result.unchanged("done")
