"""The vocabulary in which a command declares what it may do, and the mode a run gets from it."""

from __future__ import annotations

from enum import Enum, IntEnum


class Access(Enum):
    """What a command does to the world."""

    READ = "read"
    """Reads only. Its session is READ ONLY in the database itself: a write is an error."""
    WRITE = "write"
    """Changes something. It must say how it can be previewed: `dry_run`."""


class Confirm(IntEnum):
    """How an operator confirms a run. Ordered: a command may raise its level, never lower it."""

    NEVER = 0
    """Runs as typed."""
    PROMPT = 1
    """Asks y/N on a terminal, or takes the plain flag `--confirm`."""
    TYPE_NAME = 2
    """The operator types `<database>@<environment>`, read from the connected database, or gives
    it as `--confirm=<that>`, so that a wrong DATABASE_URL can't match."""


class DryRun(Enum):
    """What `--dry-run` does. It is enforced by the database, not remembered by the author."""

    ROLLBACK = "rollback"
    """The command runs for real in a transaction that can't be committed; rows are counted."""
    PLAN = "plan"
    """For effects a rollback can't undo. Everything is read-only, and the command, which sees
    `run.dry_run`, returns what it would do."""
    UNSUPPORTED = "unsupported"
    """There is no `--dry-run` flag; giving it is a usage error."""


class Mode(Enum):
    """How a run may change things. The executor decides it; every resource obeys it."""

    COMMIT = "commit"
    """A real run: the executor commits at the end."""
    ROLLBACK = "rollback"
    """A dry run that does the work in a transaction nobody can commit."""
    READ_ONLY = "read-only"
    """A reading command, or a planned dry run: a write is an error."""
