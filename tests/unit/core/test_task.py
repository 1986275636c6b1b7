"""Tasks: when they apply, and the names of their checks."""

from __future__ import annotations

import pytest

from oneoff import BaseCommand, Flag, Result, Task
from oneoff.core.parsing import parse


async def _orders_are_paid() -> None:
    """Check that all orders are paid."""


def test_a_check_is_named_as_an_operator_types_it() -> None:
    """A built-in check by its name, a function without its underscores."""
    task = Task("ADM-001", category="migration", checks=("backup-completed", _orders_are_paid))

    assert {
        "backup-completed": "backup-completed",
        "orders-are-paid": _orders_are_paid,
    } == task.checks_by_name()


@pytest.mark.parametrize(
    ("environments", "applies"), [((), True), (("staging",), False), (("production",), True)]
)
def test_a_task_applies_in_its_environments(environments: tuple[str, ...], applies: object) -> None:
    """Without any, everywhere."""
    task = Task("ADM-001", category="migration", environments=environments)

    assert applies is task.applies_in("production")


def test_a_class_refuses_a_task_of_another_type() -> None:
    """As every attribute of its policy."""
    with pytest.raises(TypeError, match="task = 'ADM-001' must be of the type Task"):

        class Report(BaseCommand):
            """Write a report."""

            task = "ADM-001"  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]

            async def handle(self) -> Result:
                return Result.unchanged("written")


def test_an_input_with_a_taken_name_gets_an_underscore() -> None:
    """It is spelled without it."""

    class Report(BaseCommand):
        """Write a report."""

        task_: bool = Flag(help="Only tasks.")

        async def handle(self) -> Result:
            return Result.unchanged("written")

    parsed = parse(Report, ["--task"])

    assert {"task_": True} == parsed.values
