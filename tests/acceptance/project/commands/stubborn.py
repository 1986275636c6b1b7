"""`stubborn`: ignore being cancelled."""

import asyncio
from pathlib import Path

from oneoff import Argument, BaseCommand, Result


class Stubborn(BaseCommand):
    """Say so in a file, and wait for ever whatever happens."""

    examples = ("stubborn /tmp/marker",)

    marker: Path = Argument(help="File that is made once it waits.")

    async def handle(self) -> Result:
        while True:
            try:
                self.marker.touch()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.marker.with_suffix(".cancelled").touch()
