"""Define the errors that a command may raise, and their exit codes.

Every error says what happened (`message`), why (`why`), and what to do next (`try_`, if possible
real command lines). `code` is a stable kebab-case name for scripts. Each code is documented in
docs/reference/errors.md.
"""

from __future__ import annotations

from enum import IntEnum

TYPE_CHECKING = False  # typing's own constant would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Self


class ExitCode(IntEnum):
    """All exit codes of a run. The numbers above 63 follow sysexits.h.

    Attributes:
        meaning: What the code says about the run, as in docs/reference/exit-codes.md.
        retry: Whether the same command line may succeed later without any other change.
    """

    meaning: str
    retry: bool

    OK = 0, "done, or nothing to do"
    FAILED = 1, "the command failed, or oneoff or the command has a bug"
    USAGE = 2, "the command line is wrong"
    FINDINGS = 3, "a check ran to its end and found something"
    DATA = 65, "the input data is bad; none of it was written"
    UNAVAILABLE = 69, "a service can't be reached", "retry"
    TEMPORARY = 75, "the run could not continue now: lock busy, deadline reached", "retry"
    REFUSED = 77, "policy forbids the run: not confirmed, not approved, prohibited here"
    CONFIGURATION = 78, "a setting is missing or wrong, or the project does not fit together"
    INTERRUPTED = 130, "SIGINT stopped the run; the open transaction was rolled back", "retry"
    TERMINATED = (
        143,
        "SIGTERM or SIGHUP stopped the run; the open transaction was rolled back",
        "retry",
    )

    def __new__(cls, number: int, meaning: str = "", retry: str = "") -> Self:
        """Create the member of one line of the table."""
        code = int.__new__(cls, number)
        code._value_ = number
        code.meaning, code.retry = meaning, bool(retry)
        return code


class CommandError(Exception):
    """Stop the run, roll its work back, and tell the operator what to do.

    Args:
        message: What happened, with the user's own values; lower case, no full stop.
        why: The reason, or the consequence that was avoided.
        try_: What to do next: one line, or several in the order worth trying.
        code: Kebab-case name of this error; by default the one of its class.
        data: Data for standard output and the JSON envelope: a list of rows, or a mapping. What the
            rows say is not said again in `message` and `why`.
        table: What standard output shows instead of `data`; JSON has only `data`.
    """

    code = "command-failed"
    exit_code = ExitCode.FAILED

    def __init__(
        self,
        message: str,
        *,
        why: str = "",
        try_: str | Sequence[str] = (),
        code: str = "",
        data: Any = None,
        table: Sequence[Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.why = why
        self.try_ = (try_,) if isinstance(try_, str) else tuple(try_)
        self.code = code or type(self).code
        self.data = data
        self.table = data if table is None else table


class NotFound(CommandError):
    """The object that the operator named does not exist."""

    code = "not-found"


class UsageError(CommandError):
    """The command line is wrong. All problems are reported together.

    Args:
        problems: One line for each problem.
        try_: Correct command lines, or where to read more.
        code: As in `CommandError`.
    """

    code = "usage"
    exit_code = ExitCode.USAGE

    def __init__(
        self, problems: str | Sequence[str], *, try_: str | Sequence[str] = (), code: str = ""
    ) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("; ".join(self.problems), try_=try_, code=code)


class CheckFailed(CommandError):
    """A check has found a problem: pending migrations, drift, a broken command."""

    code = "check-failed"
    exit_code = ExitCode.FINDINGS


class DataError(CommandError):
    """The input data is wrong, and none of it was written."""

    code = "bad-data"
    exit_code = ExitCode.DATA


def unstorable_text() -> DataError:
    """Return the error for a text that neither a database nor Redis can store."""
    return DataError(
        "a text contains a character that can't be stored",
        why="it is not valid Unicode (a lone surrogate), or it is a NUL",
        try_="correct the input; --traceback shows where it was used",
        code="unstorable-text",
    )


class Unavailable(CommandError):
    """A service the command needs can't be reached; a retry may succeed."""

    code = "unavailable"
    exit_code = ExitCode.UNAVAILABLE


class TemporaryError(CommandError):
    """The run can't continue now, but a retry may succeed. Nothing is left half done."""

    code = "temporary"
    exit_code = ExitCode.TEMPORARY


class LockBusy(TemporaryError):
    """Another run holds the lock and did not release it within `--lock-wait`."""

    code = "lock-busy"


class LockLost(TemporaryError):
    """The lock was lost while the run held it, so the run stopped before its next step."""

    code = "lock-lost"


class DeadlineReached(TemporaryError):
    """The run did not end within `--timeout`; its open transaction was rolled back."""

    code = "deadline-reached"


class Refused(CommandError):
    """Policy forbids the run in this environment, or it was not confirmed."""

    code = "refused"
    exit_code = ExitCode.REFUSED


class Declined(Refused):
    """The operator answered no. This is not a fault, so it is not shown as one."""

    code = "declined"


class ConfigurationError(CommandError):
    """A setting is missing or wrong, or the project's declarations contradict each other."""

    code = "configuration"
    exit_code = ExitCode.CONFIGURATION


class ReadOnlyViolation(CommandError):
    """Something tried to write in a read-only run."""

    code = "read-only"


class DryRunViolation(CommandError):
    """A dry run tried something that can't be rolled back, so it was stopped."""

    code = "dry-run-violation"


class Interrupted(CommandError):
    """A signal stopped the run; its open transaction was rolled back."""

    code = "interrupted"
    exit_code = ExitCode.INTERRUPTED


class Terminated(Interrupted):
    """SIGTERM or SIGHUP stopped the run; its open transaction was rolled back."""

    code = "terminated"
    exit_code = ExitCode.TERMINATED
