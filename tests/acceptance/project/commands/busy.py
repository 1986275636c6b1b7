"""`busy`: block the event loop, and leave a thread of a pool behind."""

import asyncio
import time
from pathlib import Path

from oneoff import Argument, BaseCommand, Result


class Busy(BaseCommand):
    """Say so in a file, and block for ten minutes."""

    examples = ("busy /tmp/marker",)

    marker: Path = Argument(help="File that is made once it blocks.")

    async def handle(self) -> Result:
        asyncio.get_running_loop().run_in_executor(None, time.sleep, 600)
        self.marker.touch()
        time.sleep(600)  # noqa: ASYNC251 - that is the point
        return Result.unchanged("never")
