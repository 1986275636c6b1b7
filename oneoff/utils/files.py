"""Files for their owner alone."""

from __future__ import annotations

import os


def open_private(path: str, flags: int) -> int:
    """Open a file, as the `opener` of `open` does; a new one is readable by its owner alone."""
    return os.open(path, flags, 0o600)
