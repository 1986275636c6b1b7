"""How a run may touch the world; decided by the executor, obeyed by every resource."""

from __future__ import annotations

from enum import Enum


class Mode(Enum):
    """The transaction mode of one run."""

    COMMIT = "commit"
    """A real run: the executor commits at the end."""
    ROLLBACK = "rollback"
    """A dry run that does the work in a transaction nobody can commit."""
    READ_ONLY = "read-only"
    """A reading command, or a planned dry run: a write is an error."""
