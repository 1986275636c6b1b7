"""Choose the column that orders the rows of a batch, and check it against the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, UniqueConstraint

from oneoff.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Column
    from sqlalchemy.sql.expression import FromClause


def key_column(table: Table, name: str, command: str) -> Column[Any]:
    """Return the column that pages of rows are ordered by.

    Args:
        table: The table whose rows are selected.
        name: As the command declares it; empty for the primary key.
        command: Name of the command's class, for messages.

    Raises:
        ConfigurationError: `batch-key`: it is not unique, or may be NULL.
    """
    if not name:
        if len(table.primary_key.columns) != 1:
            raise _bad_key(table, command, "its primary key is not one column")
        return table.primary_key.columns[0]
    column = _named(table, name, command)
    if column.nullable:
        raise _bad_key(table, command, f"{name!r} may be NULL")
    if {name} not in _unique(table):
        raise _bad_key(table, command, f"{name!r} is not unique")
    return column


def range_column(table: FromClause, name: str, command: str) -> Column[Any]:
    """Return the column whose ranges are batches.

    Raises:
        ConfigurationError: `batch-key`: no index begins with it.
    """
    if not isinstance(table, Table):
        raise _bad_key(table, command, "it is not a table")
    column = _named(table, name, command)
    firsts = [next(iter(index.columns.keys()), "") for index in table.indexes]
    firsts += [constraint[0] for constraint in _constraints(table) if constraint]
    if name not in firsts:
        raise _bad_key(table, command, f"no index begins with {name!r}")
    return column


def _named(table: Table, name: str, command: str) -> Column[Any]:
    if name not in table.columns:
        raise _bad_key(table, command, f"it has no column {name!r}")
    return table.columns[name]


def _unique(table: Table) -> list[set[str]]:
    indexes = [set(index.columns.keys()) for index in table.indexes if index.unique]
    return indexes + [set(constraint) for constraint in _constraints(table)]


def _constraints(table: Table) -> Iterator[list[str]]:
    yield table.primary_key.columns.keys()
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield constraint.columns.keys()


def _bad_key(table: FromClause, command: str, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"{command} can't process {table.description!r} in batches: {what}",
        why="rows could be missed or processed twice, or each batch would scan the entire table",
        try_="declare a suitable column as key or range_column, and index it in the model",
        code="batch-key",
    )
