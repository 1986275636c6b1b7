"""The errors of a file of rows, in an operator's words.

No value of a column that is marked as personal data is shown. The server's own messages quote
values, so they are not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from oneoff.core.errors import DataError
from oneoff.database import sqlstates
from oneoff.database.errors import driver_message

if TYPE_CHECKING:
    from oneoff.services.data.columns import Column

MOST_SHOWN = 10
"""Problems that an error lists."""
TRIGGER = sqlstates.RAISE_EXCEPTION
"""SQLSTATE of what a trigger raises."""
ROW_ERRORS = ("22", "23", TRIGGER)
"""Classes of SQLSTATE that are about the content of rows."""
DUPLICATE_IN_FILE = "twice"
"""Stands for the SQLSTATE of a row whose key another row of the file has."""
_LONGEST_VALUE = 60

_BY_SQLSTATE = {
    sqlstates.INVALID_TEXT_REPRESENTATION: "is no {type}",
    sqlstates.INVALID_BINARY_REPRESENTATION: "is no {type}",
    sqlstates.INVALID_DATETIME_FORMAT: "is no {type}",
    sqlstates.DATETIME_FIELD_OVERFLOW: "is no {type}, or out of its range",
    sqlstates.NUMERIC_VALUE_OUT_OF_RANGE: "is out of the range of {type}",
    sqlstates.STRING_DATA_RIGHT_TRUNCATION: "is too long for {type}",
    sqlstates.CHARACTER_NOT_IN_REPERTOIRE: "holds a sign that a text can't",
    sqlstates.UNTRANSLATABLE_CHARACTER: "holds a sign that a text can't",
    sqlstates.NOT_NULL_VIOLATION: "is empty, and must not be",
    sqlstates.FOREIGN_KEY_VIOLATION: "refers to a row that is not there",
    sqlstates.UNIQUE_VIOLATION: "is there already",
    sqlstates.CHECK_VIOLATION: "is not allowed",
    DUPLICATE_IN_FILE: "stands in the file more than once",
    sqlstates.EXCLUSION_VIOLATION: "conflicts with a row that is there",
    sqlstates.INSUFFICIENT_PRIVILEGE: (
        "is refused by row-level security, or for want of a privilege"
    ),
}


class Problem(NamedTuple):
    """What is wrong with one row.

    Attributes:
        line: The line of the file it begins in; 0 if that is unknown.
        what: What is wrong, as said after the value: "is no integer".
        column: Names of columns, joined by commas; empty for the row as a whole.
        value: The value; None if it is NULL, unknown, or must not be shown.
        state: SQLSTATE, or a word of ours.
        constraint: Name of the constraint that is violated.
    """

    line: int
    what: str
    column: str = ""
    value: str | None = None
    state: str = ""
    constraint: str = ""

    @property
    def text(self) -> str:
        """The whole sentence."""
        where = [f"line {self.line:,}"] if self.line else []
        where += [f"column {self.column}"] if self.column else []
        value = "" if self.value is None else f"{self.value!r} "
        which = f" ({self.constraint})" if self.constraint else ""
        return f"{', '.join(where)}: {value}{self.what}{which}".removeprefix(": ")

    def facts(self) -> dict[str, object]:
        """Return it as JSON for a script."""
        return {
            "line": self.line or None,
            "column": self.column or None,
            "value": self.value,
            "error": self.what + (f" ({self.constraint})" if self.constraint else ""),
            "code": self.state,
        }


def problem_of(
    sqlstate: str,
    columns: Sequence[Column],
    values: Sequence[str | None],
    *,
    line: int = 0,
    constraint: str = "",
) -> Problem:
    """Return what a database refused, without values that must not be shown.

    Args:
        sqlstate: Of the error.
        columns: That it is about; none for the row as a whole.
        values: Of these columns.
        line: Where the row begins; 0 if that is unknown.
        constraint: Name of the constraint that is violated.
    """
    type_name = columns[0].type if columns else "value of its column"
    what = _BY_SQLSTATE.get(sqlstate, "is refused by the database").format(type=type_name)
    known = [value for value in values if value is not None]
    hidden = any(column.pii for column in columns) or len(known) != len(columns)
    shown = None if hidden or not columns else short(", ".join(known))
    if shown is None:
        what = f"the value {what}" if columns else f"the row {what}"
    names = ", ".join(column.name for column in columns)
    return Problem(line, what, names, shown, sqlstate, constraint)


def refused_by_trigger(exc: Exception, columns: Sequence[Column]) -> Problem:
    """Return what a trigger says, but not if personal data is written: it may quote the row."""
    hidden = any(column.pii for column in columns)
    message = "" if hidden else f": {short(driver_message(exc))}"
    return Problem(0, f"a trigger refuses a row{message}", state=TRIGGER)


def short(value: str) -> str:
    """Cut a value that would fill the screen, and escape what can't be printed."""
    value = value.encode(errors="backslashreplace").decode()
    return value if len(value) <= _LONGEST_VALUE else value[:_LONGEST_VALUE] + "..."


class BadFile(DataError):
    """The file can't be imported, whatever its rows are."""

    code = "bad-file-data"


def bad_file(name: str, what: str, *, code: str = "", try_: str = "") -> DataError:
    """Return the error for a file that can't be imported whatever its rows are."""
    return BadFile(
        f"{name} {what}",
        why="nothing was imported",
        try_=try_ or "give the whole file, as UTF-8 text",
        code=code,
    )


def bad_rows(name: str, problems: Sequence[Problem], *, count: int = 0) -> DataError:
    """Return the error for rows that can't be imported.

    Args:
        name: Of the file.
        problems: The first of them, at least one.
        count: How many there are; 0 if the rest of the file was not read.
    """
    shown = problems[:MOST_SHOWN]
    others = [problem.text for problem in shown[1:]]
    more = count - len(shown)
    if more > 0:
        others.append(f"and {more:,} more")
    why = "nothing was imported"
    return DataError(
        f"{name}, {shown[0].text}",
        why="; ".join([why, *others]) if others else why,
        try_=("correct it, and import the file again", "--rejects FILE leaves bad rows out"),
        code="bad-rows",
        data=[problem.facts() for problem in shown],
    )
