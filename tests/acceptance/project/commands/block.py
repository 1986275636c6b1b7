"""`block`: wait in a thread that nothing can interrupt."""

import threading
from pathlib import Path

from oneoff import Argument, BaseCommand, Result


class Block(BaseCommand):
    """Say so in a file, and block a thread for ever."""

    examples = ("block /tmp/marker",)

    marker: Path = Argument(help="File that is made once it blocks.")

    def handle(self) -> Result:
        self.marker.touch()
        threading.Event().wait()
        return Result.unchanged("never")
