"""Open files that only their owner can read."""

from __future__ import annotations

import os


def open_private(path: str, flags: int) -> int:
    """Open a file, as `opener` of `open()`; a new one can be read by its owner alone."""
    return os.open(path, flags, 0o600)
