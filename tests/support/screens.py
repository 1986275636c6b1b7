"""A terminal whose screen tests can read."""

from __future__ import annotations

import io

from oneoff.runtime.terminal import Terminal


class Screen(io.StringIO):
    """A stream that says it is a terminal, but has no file descriptor."""

    def isatty(self) -> bool:
        """Return True."""
        return True

    @property
    def line(self) -> str:
        """The text on the last line."""
        return self.getvalue().rpartition("\n")[2].rpartition("\r\x1b[K")[2]


def at_a_terminal(screen: Screen, *, width: int = 100, stdout: Screen | None = None) -> Terminal:
    """Return a terminal whose standard error is this screen."""
    return Terminal(None, stdout, screen, {"COLUMNS": str(width)})
