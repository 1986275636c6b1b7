"""Delete rows by the retention rules of a project, one batch for each rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Date, DateTime, Delete, Table, TypeDecorator, delete

from oneoff.core.errors import ConfigurationError, UsageError
from oneoff.core.project import Project
from oneoff.services import project_parts
from oneoff.services.batch.command import BatchCommand, Throttle
from oneoff.services.batch.probes import LockWaiters, ReplicaLag
from oneoff.services.batch.run.bounds import BatchBound
from oneoff.services.retention.rules import Retention
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from oneoff.services.batch.resource import BatchRunner

BATCH, SMALLEST, LARGEST = 5_000, 2_500, 12_500  # rows of a batch
MAX_DAYS = 365_000  # a thousand years; a much earlier date is before the first year of a datetime
SECONDS = 0.01  # seconds that a batch should take
# Batches of these sizes don't delay other transactions noticeably: one DELETE of a million rows
# takes half a second, one of five thousand rows takes three milliseconds.


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupRequest:
    """The inputs of `data cleanup`.

    Attributes:
        rules: The rules, in the order in which they run.
        days: Replaces the days of each rule; None to use the rule's own.
        max_rows: Rows of all rules together; None for no limit.
        max_time: Time for all rules together; None for no limit.
        duty: Replaces the duty of each rule; None to use the rule's own.
        new_run: Cancel unfinished batches, and compute ages from now.
    """

    rules: Sequence[Retention]
    days: int | None
    max_rows: int | None
    max_time: timedelta | None
    duty: float | None
    new_run: bool


def choose_rules(project: Project, names: Sequence[str], days: int | None) -> list[Retention]:
    """Return the rules with these names, or all rules if no name is given.

    Raises:
        ConfigurationError: The project has no rules, or two with the same name.
        UsageError: A name is unknown, or a rule must keep its rows for more days.
    """
    rules: list[Retention] = project_parts.RETENTION.load(project, code="no-retention")
    known = {rule.name for rule in rules}
    if unknown := [name for name in names if name not in known]:
        raise project_parts.RETENTION.unknown_name(unknown[0], rules, code="unknown-retention")
    wanted = [rule for rule in rules if not names or rule.name in names]
    _check_days(wanted, days)
    return wanted


async def clean(batches: BatchRunner, request: CleanupRequest) -> list[dict[str, Any]]:
    """Run the rules one after the other; return the number of deleted rows for each.

    In a dry run, return the number of rows that would be deleted.

    Raises:
        BatchBound: The run reached a bound; committed rows stay deleted.
        CommandError: The error of a rule's batch; the rules before it are done.
    """
    started, done = monotonic(), 0
    report = []
    rules = {rule.name: _batch(rule, _days(rule, request)) for rule in request.rules}
    busy = set(rules) if request.new_run else await batches.parts_to_run(rules)
    for rule in request.rules:
        days = _days(rule, request)
        if rule.name not in busy:
            report.append(_report(rule, rules[rule.name], days, 0))
            continue
        # The bounds apply to all rules together, so a rule gets the remainder of the earlier ones.
        bounds = _remaining(request, done, monotonic() - started)
        duty = request.duty or rule.duty
        command = _batch(rule, days, duty=duty, new_run=request.new_run, **bounds)
        try:
            result = await batches.run(command, part=rule.name)
        except BatchBound as exc:
            raise _bound_reached(request, done + exc.done) from exc
        done += result.rows
        report.append(_report(rule, command, days, result.rows))
    return report


def _days(rule: Retention, request: CleanupRequest) -> int:
    return rule.days if request.days is None else request.days


def _report(rule: Retention, command: BatchCommand, days: int, rows: int) -> dict[str, Any]:
    facts = {"rule": rule.name, "table": _table(rule).name, "days": days}
    return facts | {"before": cutoff(rule, command.began, days), "rows": rows}


def cutoff(rule: Retention, began: datetime, days: int) -> date | datetime:
    """Return the time before which rows are deleted, as a value for the rule's column.

    Raises:
        ConfigurationError: The column does not contain a date or a time.
    """
    at = began.astimezone(UTC) - timedelta(days=days)
    kind = _column(rule).type
    base = kind.impl_instance if isinstance(kind, TypeDecorator) else kind
    if isinstance(base, Date):
        return at.date()
    if not isinstance(base, DateTime):
        raise ConfigurationError(
            f"the retention rule {rule.name!r} uses {_column(rule)}, which is not a date or time",
            try_="use the column with the time at which a row was created, or became obsolete",
            code="batch-key",
        )
    # A custom type of the project converts the value itself.
    return at if base.timezone or base is not kind else at.replace(tzinfo=None)


def _remaining(request: CleanupRequest, done: int, seconds: float) -> dict[str, Any]:
    """Return the bounds that remain after the earlier rules.

    Raises:
        BatchBound: A bound is reached.
    """
    time = request.max_time
    if (request.max_rows and done >= request.max_rows) or (
        time and seconds >= time.total_seconds()
    ):
        raise _bound_reached(request, done)
    return {
        "max_rows": request.max_rows and request.max_rows - done,
        "max_time": time and time - timedelta(seconds=seconds),
    }


def _batch(rule: Retention, days: int, **bounds: Any) -> BatchCommand:
    """Return the batch that deletes the rows of a rule."""
    # The days are not an input of the batch, so a run with other days resumes the same batch. It
    # starts with the oldest rows in any case, and two batches at the same time would wait for each
    # other's row locks.

    class RuleBatch(BatchCommand):
        """Delete the rows that the rule does not keep."""

        batch_size = BATCH
        smallest_batch = SMALLEST
        largest_batch = LARGEST
        batch_seconds = SECONDS
        range_column = _column(rule).key

        def probes(self) -> Sequence[Throttle]:
            return (ReplicaLag(), LockWaiters(_table(rule).fullname))

        def change(self) -> Delete:
            old = _column(rule) < cutoff(rule, self.began, days)
            statement = delete(_table(rule)).where(old)
            return statement if rule.where is None else statement.where(rule.where)

    RuleBatch.__name__ = f"the rule {rule.name!r}"  # what messages call it
    return RuleBatch(**bounds)


def _bound_reached(request: CleanupRequest, done: int) -> BatchBound:
    reached = request.max_rows and done >= request.max_rows
    time = request.max_time.total_seconds() if request.max_time else 0.0
    return BatchBound(
        f"--max-rows {request.max_rows}" if reached else f"--max-time {time:g}s", done
    )


def _column(rule: Retention) -> Column[Any]:
    """Return the table's column of a rule, which may name a mapped attribute."""
    column: object = getattr(rule.age, "expression", rule.age)
    if isinstance(column, Column) and isinstance(column.table, Table):
        return column
    raise ConfigurationError(
        f"the retention rule {rule.name!r} uses {rule.age}, which is not a column of a table",
        try_="use a column of a model: age=Event.at",
        code="batch-key",
    )


def _table(rule: Retention) -> Table:
    table: Table = _column(rule).table
    return table


def _check_days(rules: Sequence[Retention], days: int | None) -> None:
    if days is None:
        return
    if days < 1:
        raise UsageError(f"--days {days} is less than 1")
    if days > MAX_DAYS:
        raise UsageError(f"--days {days} is more than {MAX_DAYS:,}: a thousand years")
    if kept := [rule for rule in rules if days < rule.minimum_days]:
        # With `--only`, because without names the number would apply to all other rules too.
        only = " ".join(f"--only {rule.name}" for rule in kept)
        longest = max(rule.minimum_days for rule in kept)
        raise UsageError(
            [
                f"--days {days}: the rule {rule.name!r} keeps rows at least "
                f"{counted(rule.minimum_days, 'day')}"
                for rule in kept
            ],
            try_=[
                f"python manage.py data cleanup --only {rule.name} --days {days}"
                for rule in rules
                if rule not in kept
            ]
            or f"python manage.py data cleanup {only} --days {longest}",
            code="kept-longer",
        )
