"""`pause`: keep a run active without writing."""

import asyncio
from pathlib import Path

from oneoff import Argument, BaseCommand, Result


class Pause(BaseCommand):
    """Create a file and wait indefinitely."""

    examples = ("pause /tmp/marker",)

    marker: Path = Argument(help="File to create when the command waits.")

    async def handle(self, session) -> Result:
        self.marker.touch()
        await asyncio.Event().wait()
        return Result.unchanged("never")
