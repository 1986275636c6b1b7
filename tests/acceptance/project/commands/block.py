"""`block`: wait in a thread that can't be interrupted."""

import threading
from pathlib import Path

from oneoff import Argument, BaseCommand, Result


class Block(BaseCommand):
    """Create a file and block a thread indefinitely."""

    examples = ("block /tmp/marker",)

    marker: Path = Argument(help="File to create when the command blocks.")

    def handle(self) -> Result:
        self.marker.touch()
        threading.Event().wait()
        return Result.unchanged("never")
