"""Tasks: when they apply, and the names of their checks."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from oneoff import BaseCommand, Flag, Result, Task
from oneoff.core.parsing import parse
from oneoff.core.task import CATEGORIES, NEEDED

ROOT = Path(__file__).resolve().parents[3]


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


def test_code_gives_several_waivers_as_a_list() -> None:
    """`call_command(..., waive=[...])`; one may be a text."""

    class Report(BaseCommand):
        """Write a report."""

        task = Task("ADM-001", category="analytics", checks=("on-call-notified",))

        async def handle(self) -> Result:
            return Result.unchanged("written")

    several = parse(Report, [], given={"waive": ["a=one", "b=two = 2"]})
    single = parse(Report, ["--waive", "a=one"])

    assert {"a": "one", "b": "two = 2"} == several.options.waive
    assert {"a": "one"} == single.options.waive


def test_the_reference_names_each_field_and_the_categories_that_need_it() -> None:
    """As `commands check` does."""
    page = (ROOT / "docs/reference/command-attributes.md").read_text(encoding="utf-8")
    section = page.partition("## Task\n")[2].partition("\n## ")[0]
    documented = {
        field: need
        for names, need in re.findall(r"^\| (`.+?`) \| (.*?) ?\| ", section, re.MULTILINE)
        for field in re.findall(r"`(\w+)`", names)
    }
    needs = {field.name: _needed_by(field.name) for field in fields(Task) if field.name != "_"}

    assert needs == documented


def _needed_by(field: str) -> str:
    if field in {"id", "category"}:
        return "all"
    if field in {"rollback", "irreversible"}:
        return "tasks that write"
    needing = [category for category in CATEGORIES if field in NEEDED[category]]
    without = [category for category in CATEGORIES if category not in needing]
    if not without:
        return "all"
    if len(without) < len(needing):
        return f"all but {' and '.join(without)}"
    return ", ".join(needing)
