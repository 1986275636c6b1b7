"""Declare which rows of a project `data cleanup` deletes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oneoff.services.batch.command import FULL_DUTY, duty_problems

if TYPE_CHECKING:
    from sqlalchemy import Column, ColumnElement
    from sqlalchemy.orm import InstrumentedAttribute


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """One rule: rows of one table that are older than so many days are deleted.

    Attributes:
        name: What the operator types: `data cleanup --only events`.
        help: One sentence for the confirmation of a reader: which rows, and why so long.
        age: The column that says how old a row is: a date or an instant. Its table is the one that
            is cleaned up, and it needs an index. Rows where it is NULL stay.
        days: Rows that are older than this are deleted.
        minimum_days: `--days` can't go below it.
        where: What else must be true of a row: `Job.state == "done"`.
        duty: Percent of the time at work; between batches the run rests. 100 for no rests.
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
                f"the retention rule {self.name!r} keeps rows {self.days} days and at least "
                f"{self.minimum_days}: say 1 <= minimum_days <= days"
            )
            raise ValueError(message)


MAX_NAME = 40
"""The name is part of the id of the rule's batches, a column of 80 characters."""
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
