"""`stubborn`: ignore cancellation."""

import asyncio
from pathlib import Path

from oneoff import Argument, BaseCommand, Result


class Stubborn(BaseCommand):
    """Create a file and wait indefinitely, even if cancelled."""

    examples = ("stubborn /tmp/marker",)

    marker: Path = Argument(help="File to create when the command waits.")

    async def handle(self) -> Result:
        while True:
            try:
                self.marker.touch()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.marker.with_suffix(".cancelled").touch()
