"""Declare which rows of a project `data cleanup` deletes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oneoff.services.batch.command import FULL_DUTY, duty_problems
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from sqlalchemy import Column, ColumnElement
    from sqlalchemy.orm import InstrumentedAttribute


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """One rule: rows of one table are deleted when they are older than a number of days.

    Attributes:
        name: The name that the operator types: `data cleanup --only events`.
        help: One sentence for readers: which rows, and why they are kept for this time.
        age: The column with the date or time of a row. Rows of its table are deleted. The column
            needs an index. Rows with NULL are kept.
        days: Rows that are older than this are deleted.
        minimum_days: The lowest value of `--days`.
        where: A further condition for rows to delete: `Job.state == "done"`.
        duty: Percentage of the time in which the run works; it pauses between batches. 100 for no
            pauses.
    """

    name: str
    help: str
    age: InstrumentedAttribute[Any] | Column[Any]
    days: int
    minimum_days: int = 1
    where: ColumnElement[bool] | None = None
    duty: float = FULL_DUTY

    def __post_init__(self) -> None:
        """Refuse a name that an operator can't type, and days that contradict each other."""
        if not self.name or len(self.name) > MAX_NAME or set(self.name) - _LETTERS:
            message = (
                f"the retention rule {self.name!r} needs a name of 1 to {MAX_NAME} letters "
                "a-z, digits and '-'"
            )
            raise ValueError(message)
        if wrong := duty_problems(self.duty, "duty"):
            message = f"the retention rule {self.name!r}: {wrong[0]}"
            raise ValueError(message)
        if not 1 <= self.minimum_days <= self.days:
            message = (
                f"the retention rule {self.name!r} keeps rows {counted(self.days, 'day')}, and at "
                f"least {self.minimum_days}: declare 1 <= minimum_days <= days"
            )
            raise ValueError(message)


MAX_NAME = 40
"""Characters of a name, which is part of the id of the rule's batches: a column of 80 characters.
"""
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
