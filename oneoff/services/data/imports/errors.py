"""Describe what is wrong with a file or its rows, in terms that operators know.

Values of columns that are marked as personal data are not shown. The server's own messages are not
used, because they quote values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from oneoff.core.errors import DataError
from oneoff.database import sqlstates
from oneoff.database.errors import driver_message
from oneoff.utils.text import cell

if TYPE_CHECKING:
    from oneoff.services.data.columns import Column

MOST_SHOWN = 10
"""The largest number of problems that an error lists."""
TRIGGER = sqlstates.RAISE_EXCEPTION
"""The SQLSTATE of an error that a trigger raises."""
ROW_ERRORS = (
    sqlstates.DATA_EXCEPTION,
    sqlstates.INTEGRITY_CONSTRAINT_VIOLATION,
    sqlstates.PROGRAM_LIMIT_EXCEEDED,
    TRIGGER,
)
"""The SQLSTATEs, or their classes, of errors in the content of rows."""
DUPLICATE_IN_FILE = "twice"
"""Used instead of a SQLSTATE if two rows of the file have the same key."""
_LONGEST_VALUE = 60  # characters

_BY_SQLSTATE = {
    sqlstates.INVALID_TEXT_REPRESENTATION: "is not a valid {type}",
    sqlstates.INVALID_BINARY_REPRESENTATION: "is not a valid {type}",
    sqlstates.INVALID_DATETIME_FORMAT: "is not a valid {type}",
    sqlstates.DATETIME_FIELD_OVERFLOW: "is not a valid {type}, or out of its range",
    sqlstates.NUMERIC_VALUE_OUT_OF_RANGE: "is out of the range of {type}",
    sqlstates.STRING_DATA_RIGHT_TRUNCATION: "is too long for {type}",
    sqlstates.STATEMENT_TOO_COMPLEX: "is nested too deeply",
    sqlstates.CHARACTER_NOT_IN_REPERTOIRE: "contains a character that the database can't store",
    sqlstates.UNTRANSLATABLE_CHARACTER: "contains a character that the database can't store",
    sqlstates.NOT_NULL_VIOLATION: "is empty, but the column requires a value",
    sqlstates.FOREIGN_KEY_VIOLATION: "refers to a row that does not exist",
    sqlstates.UNIQUE_VIOLATION: "already exists",
    sqlstates.CHECK_VIOLATION: "is not allowed",
    DUPLICATE_IN_FILE: "is in the file more than once",
    sqlstates.EXCLUSION_VIOLATION: "conflicts with an existing row",
    sqlstates.INSUFFICIENT_PRIVILEGE: (
        "is refused by row-level security, or because of a missing privilege"
    ),
}


class Problem(NamedTuple):
    """What is wrong with one row.

    Attributes:
        line: The line of the file in which the row starts; 0 if it is unknown.
        what: What is wrong, as text that follows the value: "is not a valid integer".
        column: The names of columns, joined by commas; empty for the entire row.
        value: The value; None if it is NULL, unknown, or must not be shown.
        state: The SQLSTATE, or one of oneoff's own words.
        constraint: The name of the violated constraint.
    """

    line: int
    what: str
    column: str = ""
    value: str | None = None
    state: str = ""
    constraint: str = ""

    @property
    def text(self) -> str:
        """The entire sentence."""
        where = [f"line {self.line:,}"] if self.line else []
        where += [f"column {self.column}"] if self.column else []
        value = "" if self.value is None else f"{self.value!r} "
        which = f" ({self.constraint})" if self.constraint else ""
        return f"{', '.join(where)}: {value}{self.what}{which}".removeprefix(": ")

    def facts(self) -> dict[str, object]:
        """Return the problem as JSON data for scripts."""
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
    """Describe a row that the database refused, without values that must not be shown.

    Args:
        sqlstate: The SQLSTATE of the error.
        columns: The columns that the error is about; empty for the entire row.
        values: The values of these columns.
        line: The line in which the row starts; 0 if it is unknown.
        constraint: The name of the violated constraint.
    """
    type_name = _type_name(columns[0]) if columns else "value of its column"
    limit = sqlstate.startswith(sqlstates.PROGRAM_LIMIT_EXCEEDED)
    other = "is too large for the table or an index" if limit else "is refused by the database"
    what = _BY_SQLSTATE.get(sqlstate, other).format(type=type_name)
    # A key of several columns is shown only if all of its values are known and none is personal.
    known = [value for value in values if value is not None]
    hidden = any(column.pii for column in columns) or len(known) != len(columns)
    shown = None if hidden or not columns else short(", ".join(known))
    if shown is None:
        what = f"the value {what}" if columns else f"the row {what}"
    names = ", ".join(column.name for column in columns)
    return Problem(line, what, names, shown, sqlstate, constraint)


def _type_name(column: Column) -> str:
    if not column.members:
        return column.type
    more = ", ..." if len(column.members) > MOST_SHOWN else ""
    return f"value: it must be one of {', '.join(column.members[:MOST_SHOWN])}{more}"


def refused_by_trigger(exc: Exception, columns: Sequence[Column]) -> Problem:
    """Describe a row that a trigger refused.

    The trigger's message may quote the row, so it is left out if personal data is imported.
    """
    hidden = any(column.pii for column in columns)
    message = "" if hidden else f": {short(driver_message(exc))}"
    return Problem(0, f"a trigger refuses a row{message}", state=TRIGGER)


def short(value: str) -> str:
    """Shorten a long value, and escape characters that can't be printed."""
    value = value.encode(errors="backslashreplace").decode()
    return value if len(value) <= _LONGEST_VALUE else value[:_LONGEST_VALUE] + "..."


def listed(names: Sequence[str]) -> str:
    """Return names for a message: the first ones, and how many more there are."""
    shown = ", ".join(cell(short(name)) for name in names[:MOST_SHOWN])
    more = len(names) - MOST_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown


class BadFile(DataError):
    """The file can't be imported, independent of its rows."""

    code = "bad-file-data"


def bad_file(name: str, what: str, *, code: str = "", try_: str = "") -> DataError:
    """Return the error for a file that can't be imported, independent of its rows."""
    return BadFile(
        f"{name} {what}",
        why="nothing was imported",
        try_=try_ or "give a complete file in UTF-8, or name its format with --format",
        code=code,
    )


def bad_rows(name: str, problems: Sequence[Problem], *, count: int = 0) -> DataError:
    """Return the error for rows that can't be imported.

    Args:
        name: The file's name.
        problems: The first problems, at least one.
        count: The number of bad rows; 0 if the file was not read to its end.
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
        try_=("correct it, and import the file again", "or leave bad rows out with --rejects FILE"),
        code="bad-rows",
        data=[problem.facts() for problem in shown],
    )
