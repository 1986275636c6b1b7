"""What goes into the executor, and what comes out: a call, and how its run ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from oneoff.core.errors import CommandError, ExitCode, Interrupted, Refused

if TYPE_CHECKING:
    from oneoff.core.command import BaseCommand
    from oneoff.core.options import GlobalOptions
    from oneoff.core.result import Result


class Status(Enum):
    """The states of a run. Every arrow starts at `started`, except that to `refused`."""

    STARTED = "started"
    """The intent is written; the work may be going on. A run that was killed stays here until the
    next one finds its lock free and closes it as `abandoned`."""
    SUCCEEDED = "succeeded"
    """The work was done (in a dry run: and rolled back)."""
    UNCHANGED = "unchanged"
    """There was nothing to do."""
    REFUSED = "refused"
    """Policy said no, or nobody confirmed; no work was started."""
    FAILED = "failed"
    """An error stopped it, and the work was rolled back; or a check found something."""
    INTERRUPTED = "interrupted"
    """A signal stopped it, and the work was rolled back."""
    ABANDONED = "abandoned"
    """The process died without closing its row; the database rolled its work back."""


class Call(NamedTuple):
    """One command to run.

    Attributes:
        name: As typed: "user promote".
        command: With its inputs; secrets may still be unread.
        options: The global options.
        argv: What may be recorded of the command line: without secrets.
        line: The whole command line for messages: "python manage.py user promote ada admin".
    """

    name: str
    command: BaseCommand
    options: GlobalOptions
    argv: list[str]
    line: str


class RowCounts(NamedTuple):
    """Rows of one table that a run inserted, updated and deleted."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run, ended.

    Attributes:
        command: Name as typed: "user promote".
        run_id: Empty when the run never began (a usage error).
        dry_run: Whether the work was a preview.
        result: What the command returned; None when it failed.
        error: What stopped it; None when it succeeded.
        tables: Rows changed, by table, as the database counted them.
        cause: The exception behind `error`, for `--traceback`.
        duration_ms: From the gate to the end of the work.
    """

    command: str
    run_id: str = ""
    dry_run: bool = False
    result: Result | None = None
    error: CommandError | None = None
    tables: Mapping[str, RowCounts] = field(default_factory=dict)
    cause: BaseException | None = None
    duration_ms: int = 0

    @property
    def exit_code(self) -> ExitCode:
        """The code the process leaves with."""
        return self.error.exit_code if self.error else ExitCode.OK

    @property
    def status(self) -> Status:
        """The state the run ended in."""
        if isinstance(self.error, Interrupted):
            return Status.INTERRUPTED
        if isinstance(self.error, Refused):
            return Status.REFUSED
        if self.error or self.result is None:
            return Status.FAILED
        return Status.SUCCEEDED if self.result.did_change else Status.UNCHANGED

    @property
    def rows(self) -> int:
        """Rows the command says it changed."""
        return self.result.rows if self.result else 0

    @property
    def message(self) -> str:
        """The one line that sums it up."""
        if self.error:
            return self.error.message
        return self.result.message if self.result else ""
