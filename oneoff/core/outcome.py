"""Define the input and the output of the executor: a `Call`, and the `Outcome` of its run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from oneoff.core.errors import CommandError, ExitCode, Interrupted, Refused

if TYPE_CHECKING:
    from oneoff.core.command import BaseCommand
    from oneoff.core.options import GlobalOptions
    from oneoff.core.result import Result


class Status(Enum):
    """The states of a run: first `started`, then one of the others. A refused run never starts."""

    STARTED = "started"
    """The intent is recorded, and the work may be running. If the process is killed, the state
    stays until the next run finds the lock of this one free and sets it to `abandoned`."""
    SUCCEEDED = "succeeded"
    """The work was done. In a dry run it was also rolled back."""
    UNCHANGED = "unchanged"
    """There was nothing to do."""
    REFUSED = "refused"
    """Policy forbids the run, or it was not confirmed. No work was started, or it was rolled back
    because it changed other rows than were approved."""
    FAILED = "failed"
    """A check found a problem, or an error stopped the run. Open work was rolled back."""
    INTERRUPTED = "interrupted"
    """A signal stopped the run, and open work was rolled back."""
    ABANDONED = "abandoned"
    """The process died without closing its record. The database rolled back open work."""


class Ending(Enum):
    """How the transaction of a run's work ended."""

    ROLLED_BACK = "rolled back"
    COMMITTED = "committed"
    UNKNOWN = "unknown"
    """COMMIT was sent, but no answer arrived."""


class Closing(NamedTuple):
    """How the transaction of a run's work also closes the record of the run.

    Attributes:
        close: Sends the last statement before COMMIT on the connection that it is called with.
        settle: Reads from the record how the transaction ended, if the answer to COMMIT was lost.
    """

    close: Callable[[Any], Awaitable[None]]
    settle: Callable[[], Awaitable[Ending]]


class Call(NamedTuple):
    """One parsed command line, for the executor to run.

    Attributes:
        name: The full name of the command, also if an alias was typed: "db migrate".
        command: The command with its inputs. Its secrets may not be read yet.
        options: The global options.
        argv: The words of the command line without secrets, for the record.
        line: The whole command line as typed, without secrets, for messages: "python manage.py
            user promote ada admin".
    """

    name: str
    command: BaseCommand
    options: GlobalOptions
    argv: list[str]
    line: str


class RowCounts(NamedTuple):
    """The numbers of rows that a run inserted, updated and deleted in one table."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one run ended.

    Attributes:
        command: The full name of the command: "user promote"; empty if none was found.
        run_id: The id of the run; empty if it never started, as after a usage error.
        dry_run: Whether it was a dry run.
        result: The result that the command returned; None if it failed.
        error: The error that stopped the run; None if it succeeded.
        tables: The changed rows by table, as counted by the database.
        cause: The exception that `error` was made from, for `--traceback`.
        recorded_rows: The number of rows in the record of the run; 0 if it has none.
        head: `SEQ:HASH` of the newest audit event of the run; empty if it has none.
        duration_ms: Milliseconds from connecting, before the gate, to the end of the work.
        warnings: Lines that the operator should read: those of the result, and of the run itself,
            also if it failed.
    """

    command: str
    run_id: str = ""
    dry_run: bool = False
    result: Result | None = None
    error: CommandError | None = None
    tables: Mapping[str, RowCounts] = field(default_factory=dict)
    cause: BaseException | None = None
    recorded_rows: int = 0
    head: str = ""
    duration_ms: int = 0
    warnings: Sequence[str] = ()

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the process."""
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
        """The number of changed rows: the command reports it, or its batches saved them."""
        return self.result.rows if self.result else self.recorded_rows

    @property
    def message(self) -> str:
        """One line that summarizes the run. That of a dry run says what would happen."""
        if self.error:
            return self.error.message
        message = self.result.message if self.result else ""
        # A command that is rolled back does not know it, so it says "ada is now admin".
        if self.dry_run and self.status is Status.SUCCEEDED and message:
            return message if "would" in message.split() else f"would report: {message}"
        return message
