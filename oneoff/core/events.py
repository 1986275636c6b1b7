"""Define the events that listeners of plug-ins get, about runs and about errors of a process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from oneoff.core.outcome import RowCounts, Status
from oneoff.core.policy import Access, Confirm, Mode
from oneoff.core.run import Run


class Step(NamedTuple):
    """One step of a run.

    Attributes:
        name: gate, intent, lock, open, handle, commit or close.
        started_at: When it started, UTC.
        seconds: How long it took.
    """

    name: str
    started_at: datetime
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """What the events of a run have in common.

    They have no field for the inputs of the command. But the texts that people and commands write,
    such as `reason` and the message of the end, often repeat inputs, and so contain personal data.

    Attributes:
        project: Name of the project.
        run: Id, command, dry run, operator, environment, reason and ticket.
        access: Whether the command reads or writes.
        confirm: How a run with these inputs has to be confirmed.
        mode: How the run may change things.
        break_glass: Whether the operator has overridden a refusal by policy.
        approval: Id of the approval that the run uses, or empty.
        mask: Replaces the secrets in a text, mapping or list by `***`. The texts of the event are
            masked already; an exception is not.
    """

    project: str
    run: Run
    access: Access
    confirm: Confirm
    mode: Mode
    break_glass: bool
    approval: str
    mask: Callable[[Any], Any] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(RunEvent):
    """A run is allowed and recorded, and its work starts. A refused run has no such event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(RunEvent):
    """A run has ended, and its record is closed. Nothing can change its outcome any more.

    Attributes:
        status: How it ended.
        exit_code: The exit code of the process.
        message: The one line that summarizes the run.
        error: Code of the error that stopped it, or empty.
        unexpected: Whether that error is a bug: none that the command or oneoff raises on purpose.
        exception: What `error` was made from. Its text and its frames may contain secrets.
        rows: The number of changed rows that the command reports, or that its batches saved.
        tables: The changed rows by table, as counted by the database; empty if the run failed.
        warnings: Lines that the operator should read.
        duration_ms: Milliseconds from connecting to the end of the work.
        steps: The steps that were started, in order.
    """

    status: Status
    exit_code: int
    message: str
    error: str
    unexpected: bool
    exception: BaseException | None
    rows: int
    tables: Mapping[str, RowCounts]
    warnings: Sequence[str]
    duration_ms: int
    steps: Sequence[Step]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessError:
    """An exception in a web process or worker was logged at level error, outside of a run.

    Attributes:
        service: Name of the process in its log: "web", "worker".
        environment: As configured.
        message: The logged message, secrets masked.
        exception: The exception. Its text and its frames may contain secrets.
        unexpected: Whether it is a bug, so neither an error that is raised on purpose nor an
            unreachable service.
        context: The variables that were bound to the line, such as `request_id` and `job_id`.
        mask: As in `RunEvent`.
    """

    service: str
    environment: str
    message: str
    exception: BaseException
    unexpected: bool
    context: Mapping[str, Any]
    mask: Callable[[Any], Any] = field(repr=False, compare=False)


AnyEvent = RunStarted | RunEnded | ProcessError
Listener = Callable[[AnyEvent], object]
