"""Define the policy that a command declares, and the mode that a run gets from it."""

from __future__ import annotations

from enum import Enum, IntEnum


class Access(Enum):
    """Whether a command reads or writes."""

    READ = "read"
    """Only reads. Its transaction is READ ONLY, so the database refuses a write."""
    WRITE = "write"
    """May change data. Such a command must declare `dry_run`."""


class Confirm(IntEnum):
    """How an operator confirms a run. `confirm_level` may raise the level, but never lower it."""

    NEVER = 0
    """Runs without confirmation."""
    PROMPT = 1
    """Asks y/N on a terminal, or accepts the plain flag `--confirm`."""
    TYPE_NAME = 2
    """The operator types the target, `<database>@<environment>`, or gives it as
    `--confirm=<target>`. Both parts come from the connected database, so a confirmation for
    another database does not match."""


class DryRun(Enum):
    """What `--dry-run` does. The database enforces it, not the author of the command."""

    ROLLBACK = "rollback"
    """The command does its work in a transaction that can't be committed. Rows are counted."""
    PLAN = "plan"
    """For work that a rollback can't undo. Everything is read-only, and the command checks
    `run.dry_run` and returns what it would do."""
    UNSUPPORTED = "unsupported"
    """The command has no `--dry-run` flag; using it is a usage error."""


class Mode(Enum):
    """How a run may change things. The executor sets it, and every resource follows it."""

    COMMIT = "commit"
    """A real run: the executor commits at the end."""
    ROLLBACK = "rollback"
    """A dry run that does the work in a transaction that can't be committed."""
    READ_ONLY = "read-only"
    """A reading command, or a dry run that returns a plan: a write is an error."""
