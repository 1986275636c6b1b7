"""`chatter`: print on the way."""

from oneoff import BaseCommand, Result


class Chatter(BaseCommand):
    """Print something, as code that is called may do."""

    examples = ("chatter --json",)

    async def handle(self) -> Result:
        print("chatter on the way")
        return Result.unchanged("done")
