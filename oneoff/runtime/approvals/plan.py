"""Compare what a run does with the plan that was approved."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from oneoff.core.errors import Refused
from oneoff.core.outcome import Outcome, RowCounts
from oneoff.core.policy import Access, DryRun

if TYPE_CHECKING:
    from oneoff.core.command import BaseCommand

_PARTIAL = frozenset({"batches", "console"})
"""Resources of commands that may commit before their end, so that nothing can be compared first."""
_TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?")


class Binding(Enum):
    """What else than its terms an approval is bound to."""

    ROWS = "rows"
    """The numbers of rows by table: the run is rolled back if they differ."""
    PLAN = "plan"
    """The message and number of rows of a dry run: it is made again before the run starts."""
    ARGUMENTS = "arguments"
    """Nothing: the command has no dry run, does only a part of the work in it, or commits in
    parts."""


class Plan(NamedTuple):
    """What a dry run reported.

    Attributes:
        message: The line for the operator.
        rows: The number of rows that the command reported.
        tables: The numbers of changed rows by table.
    """

    message: str = ""
    rows: int = 0
    tables: Mapping[str, RowCounts] = {}

    @classmethod
    def of(cls, outcome: Outcome) -> Plan:
        """Return the plan that a dry run reported."""
        return cls(outcome.message, outcome.rows, outcome.tables)

    @classmethod
    def read(cls, text: str) -> Plan:
        """Return a stored plan."""
        message, rows, tables = json.loads(text)
        return cls(message, rows, {name: RowCounts(*counts) for name, counts in tables.items()})

    def stored(self) -> str:
        """Return the plan as JSON, always in the same way."""
        parts = [self.message, self.rows, dict(sorted(self.tables.items()))]
        return json.dumps(parts, ensure_ascii=False)

    def check_rows(self, tables: Mapping[str, RowCounts], tolerance: float) -> None:
        """Compare the rows of a run with this plan.

        Args:
            tables: The numbers of rows that the run has changed.
            tolerance: The part of each number by which the run may differ from it.

        Raises:
            Refused: They differ by more.
        """
        none = RowCounts()
        names = sorted({*self.tables, *tables})
        pairs = [(name, self.tables.get(name, none), tables.get(name, none)) for name in names]
        differing = [
            f"{name}: {_counts(now)}, approved: {_counts(then)}"
            for name, then, now in pairs
            if any(abs(a - b) > a * tolerance for a, b in zip(then, now, strict=True))
        ]
        if differing:
            raise _changed("; ".join(differing))

    def check_plan(self, again: Plan, tolerance: float) -> None:
        """Compare the plan of a new dry run with this one.

        Raises:
            Refused: The number of rows differs by more than the tolerance; or, without a tolerance,
                the message differs.
        """
        near = abs(again.rows - self.rows) <= self.rows * tolerance
        # "until 2026-01-31 12:00" of --expires 2h is another time in each plan.
        then, now = (_TIME.sub("", plan.message) for plan in (self, again))
        if not near or (not tolerance and then != now):
            raise _changed(f"{again.message}; approved: {self.message}")
        self.check_rows(again.tables, tolerance)


def binding_of(command: BaseCommand) -> Binding:
    """Return what a run of the command can be compared with."""
    if command.access is Access.READ or command.dry_run is DryRun.UNSUPPORTED:
        return Binding.ARGUMENTS
    if command.dry_run is DryRun.PLAN:
        return Binding.PLAN
    in_parts = command.dry_run_samples or not _PARTIAL.isdisjoint(command.resources())
    return Binding.ARGUMENTS if in_parts else Binding.ROWS


def _counts(counts: RowCounts) -> str:
    shown = [f"{count:,} {name}" for name, count in counts._asdict().items() if count]
    return " ".join(shown) or "none"


def _changed(why: str) -> Refused:
    return Refused(
        "the run differs from the plan that was approved",
        why=why,
        try_="request an approval of the new plan: python manage.py approval request --help",
        code="approval-plan-changed",
    )
