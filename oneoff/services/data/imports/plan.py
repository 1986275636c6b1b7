"""Match the columns of a file with the columns of a table: `make_plan` returns a `Plan`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from oneoff.core.errors import DataError, UsageError
from oneoff.services.data.columns import MASK, Kind
from oneoff.services.data.imports.errors import MOST_SHOWN, bad_file, listed, short
from oneoff.services.data.tables import quote, unknown_column

if TYPE_CHECKING:
    from oneoff.services.data.columns import Column
    from oneoff.services.data.imports.request import ImportRequest, OnConflict
    from oneoff.services.data.tables import Table

_TRY_FEWER_COLUMNS = "or import only some columns with --columns NAME,NAME"
_TRY_MORE_COLUMNS = "or add to --columns the columns that the table requires"


class Plan(NamedTuple):
    """What an import writes.

    Attributes:
        table: The target.
        names: The names of the file's columns, in the order of the file.
        columns: The table's column for each name; None for a column that is not imported.
        key: The columns that identify an existing row; empty unless existing rows are skipped or
            updated.
        on_conflict: What happens to an existing row.
    """

    table: Table
    names: tuple[str, ...]
    columns: tuple[Column | None, ...]
    key: tuple[str, ...]
    on_conflict: OnConflict

    @property
    def written(self) -> list[Column]:
        """The table's columns that are written, in the order of the file."""
        return [column for column in self.columns if column is not None]

    @property
    def quoted_columns(self) -> str:
        """The quoted names of the written columns, joined by commas."""
        return ", ".join(quote(column.name) for column in self.written)

    def positions(self, names: Iterable[str]) -> list[int]:
        """Return the positions of these columns in a row, without names that the file lacks."""
        return [self.names.index(name) for name in names if name in self.names]

    def written_at(self, positions: Iterable[int]) -> list[Column]:
        """Return the table's columns that are written from these positions of a row."""
        return [column for at in positions if (column := self.columns[at]) is not None]


def make_plan(table: Table, names: Sequence[str], source: str, request: ImportRequest) -> Plan:
    """Match the columns of a file with the columns of the table.

    Args:
        table: The target.
        names: The names of the file's columns.
        source: The file's name.
        request: The options.

    Raises:
        UsageError: The options name columns that don't exist, or can't be combined.
        DataError: The file's columns don't match the table's columns.
    """
    _check_options(table, names, source, request)
    columns = request.columns
    problems = list(islice(_problems(table, names, columns), MOST_SHOWN + 1))
    if problems:
        more = "; and more" if len(problems) > MOST_SHOWN else ""
        raise DataError(
            f"{source}: {'; '.join(problems[:MOST_SHOWN])}{more}",
            why=f"nothing was imported; the file has the columns {listed(names)}",
            try_=(
                "correct the names in the file",
                _TRY_MORE_COLUMNS if columns else _TRY_FEWER_COLUMNS,
                "or give the column a server_default, so that the file does not need it",
            ),
            code="bad-columns",
        )
    _check_key(table, names, request)
    by_name = {column.name: column for column in table.columns}
    wanted = set(columns or names)
    matched = tuple(
        by_name[name] if name in wanted and not by_name[name].generated else None for name in names
    )
    key = tuple(request.key or table.key) if request.on_conflict != "error" else ()
    return Plan(table, tuple(names), matched, key, request.on_conflict)


def _check_options(table: Table, names: Sequence[str], source: str, request: ImportRequest) -> None:
    columns, key, on_conflict = request.columns, request.key, request.on_conflict
    table.columns_named(columns)
    table.columns_named(key)
    problems = [f"--columns: {source} has no column {n!r}" for n in columns if n not in names]
    problems += [f"--columns {n}: the database computes it" for n in _generated(table, columns)]
    if on_conflict != "error" and not key and not table.key:
        problems.append(f"--on-conflict {on_conflict}: {table.name} has no primary key; give --key")
    if on_conflict == "error" and key:
        problems.append("--key needs --on-conflict skip or --on-conflict update")
    if problems:
        raise UsageError(problems)


def _check_key(table: Table, names: Sequence[str], request: ImportRequest) -> None:
    """Refuse a key that the file lacks. Wrong names in the file are reported first."""
    wanted = request.columns or names
    missing = [name for name in request.key or table.key if name not in wanted]
    if request.on_conflict != "error" and missing:
        raise UsageError(
            f"--on-conflict {request.on_conflict} finds rows by {listed(missing)}, which the file "
            "does not provide"
        )


def _generated(table: Table, names: Sequence[str]) -> list[str]:
    return [column.name for column in table.columns if column.generated and column.name in names]


def _problems(table: Table, names: Sequence[str], columns: Sequence[str]) -> Iterator[str]:
    known = {column.name for column in table.columns}
    wanted = set(columns or names)
    counts = Counter(name for name in names if name in wanted)
    for name in counts:
        if name not in known:
            yield unknown_column(table, name)
    for name, count in counts.items():
        if count > 1:
            yield f"column {short(name)!r} is listed twice"
    if counts and len(_generated(table, list(counts))) == len(counts):
        yield f"the database computes all of these columns of {table.name}"
    for column in table.columns:
        if column.name not in wanted and _is_needed(table, column):
            yield f"column {column.name!r} is missing, but the table requires it"


def _is_needed(table: Table, column: Column) -> bool:
    if column.nullable or column.has_default or column.generated or column.identity:
        return False
    if table.has_trigger:  # it may fill the column
        return False
    # SQLite numbers the rows itself if the key is a single INTEGER column.
    numbers_itself = table.dialect == "sqlite" and table.key == (column.name,)
    return not (numbers_itself and column.type.upper() == "INTEGER")


def refuse_masks(plan: Plan, name: str, rows: Sequence[Sequence[str | None]]) -> None:
    """Refuse a file with masked personal data: the masks would overwrite the real data.

    Args:
        plan: What is imported.
        name: The file's name.
        rows: The first rows of the file.

    Raises:
        DataError: All values of a column are the mask or, for an update, are empty.
    """
    masked = [
        column.name
        for at, column in enumerate(plan.columns)
        if column is not None and column.pii and _is_masked(plan, column, [row[at] for row in rows])
    ]
    if masked:
        raise bad_file(
            name,
            f"was exported with personal data masked: {', '.join(masked)}",
            code="masked-data",
            try_="export it with --include-pii, or import only the other columns with --columns",
        )


def _is_masked(plan: Plan, column: Column, values: Sequence[str | None]) -> bool:
    distinct = {value for value in values if value is not None}
    if column.kind is Kind.TEXT:
        return distinct == {MASK}
    return not distinct and bool(values) and plan.on_conflict == "update"
