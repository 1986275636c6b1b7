"""A terminal that tests look at."""

from __future__ import annotations

import io

from oneoff.runtime.terminal import Terminal


class Screen(io.StringIO):
    """A stream that a person sees; `os` knows nothing of it."""

    def isatty(self) -> bool:
        """Say that it is a terminal."""
        return True

    @property
    def line(self) -> str:
        """What stands on the last line."""
        return self.getvalue().rpartition("\n")[2].rpartition("\r\x1b[K")[2]


def at_a_terminal(screen: Screen, *, width: int = 100, stdout: Screen | None = None) -> Terminal:
    """Return a terminal whose standard error is this screen."""
    return Terminal(None, stdout, screen, {"COLUMNS": str(width)})
