"""A run is compared with the plan that was approved."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from oneoff import Access, BaseCommand, BatchCommand, DryRun, Result
from oneoff.core.errors import Refused
from oneoff.core.outcome import RowCounts
from oneoff.runtime.application import load_application
from oneoff.runtime.approvals.plan import Binding, Plan, binding_of

PLAN = Plan("would delete 10", 10, {"events": RowCounts(0, 0, 10), "users": RowCounts(1, 0, 0)})


def refusal(actual: dict[str, RowCounts], tolerance: float = 0.0) -> str:
    """Return why the rows are refused; empty if they are accepted."""
    try:
        PLAN.check_rows(actual, tolerance)
    except Refused as exc:
        return exc.why
    return ""


def test_a_stored_plan_is_read_again() -> None:
    """Also one without rows."""
    assert PLAN == Plan.read(PLAN.stored())
    assert Plan() == Plan.read(Plan().stored())


@pytest.mark.parametrize(
    ("events", "tolerance", "accepted"),
    [(10, 0, True), (11, 0, False), (9, 0, False), (11, 0.1, True), (12, 0.1, False)],
)
def test_each_number_may_differ_by_the_tolerance(
    events: int, tolerance: float, *, accepted: bool
) -> None:
    """Upwards and downwards."""
    why = refusal({**PLAN.tables, "events": RowCounts(0, 0, events)}, tolerance)

    assert accepted == (not why), why


def test_a_table_that_is_not_in_the_plan_is_refused_with_any_tolerance() -> None:
    """And one that is missing in the run."""
    more = {**PLAN.tables, "orders": RowCounts(0, 1, 0)}

    assert "orders: 1 updated, approved: none" == refusal(more, 0.9)
    assert "events: none, approved: 10 deleted; users: none, approved: 1 inserted" == refusal({})


@pytest.mark.parametrize(
    ("again", "tolerance", "accepted"),
    [
        (PLAN, 0, True),
        (PLAN._replace(message="would delete all"), 0, False),
        (PLAN._replace(message="would delete 11", rows=11), 0, False),
        (PLAN._replace(message="would delete 11", rows=11), 0.1, True),
        (PLAN._replace(message="would delete 12", rows=12), 0.1, False),
    ],
)
def test_a_plan_that_is_made_again_must_say_the_same(
    again: Plan, tolerance: float, *, accepted: bool
) -> None:
    """With a tolerance, its message contains other numbers."""
    expected: AbstractContextManager[Any]
    expected = nullcontext() if accepted else pytest.raises(Refused, match="differs from the plan")

    with expected:
        PLAN.check_plan(again, tolerance)


def test_a_time_in_the_message_is_that_of_the_dry_run() -> None:
    """`--expires 2h` ends later in each plan; the option itself is approved."""
    plan = Plan("would be on, until 2026-01-31 12:00:00 UTC")

    plan.check_plan(Plan("would be on, until 2026-01-31 14:05:09 UTC"), 0)
    with pytest.raises(Refused):
        plan.check_plan(Plan("would be on, until it is switched off"), 0)


class Erase(BaseCommand):
    """Erase a thing."""

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK

    async def handle(self, session: object) -> Result:
        return Result.changed("erased")


class Many(BatchCommand):
    """Erase many things."""


def test_a_command_that_commits_in_parts_is_bound_by_its_arguments_alone() -> None:
    """Its rows are saved before they can be compared; and a shell may commit at its prompt."""
    app = load_application("app.project:project", ".", {})
    names = ("shell", "data import", "data cleanup", "db shell", "db reset", "user promote")
    loaded = [app.registry.load(app.registry.find(name.split())[0]) for name in names]
    bindings = [binding_of(command.__new__(command)) for command in loaded]

    assert [*[Binding.ARGUMENTS] * 4, Binding.PLAN, Binding.ROWS] == bindings
    assert Binding.ROWS is binding_of(Erase())
    assert Binding.ARGUMENTS is binding_of(Many())
