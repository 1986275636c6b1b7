"""`pause`: have a run that goes on without a transaction that writes."""

import asyncio
from pathlib import Path

from oneoff import Argument, BaseCommand, Result


class Pause(BaseCommand):
    """Say so in a file, and wait for ever."""

    examples = ("pause /tmp/marker",)

    marker: Path = Argument(help="File that is made once it waits.")

    async def handle(self, session) -> Result:
        self.marker.touch()
        await asyncio.Event().wait()
        return Result.unchanged("never")
