"""Export rows from SQLite: SQLite itself formats them, as PostgreSQL would.

Python's driver is the bottleneck: reading one text for each row takes a third of the time that
reading its values takes. `sqlite_values` builds the SQL of their texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff.core.errors import DataError
from oneoff.services.data.columns import FORMULA_SIGNS, FREE_TEXT, MASK, Kind, writable
from oneoff.services.data.csv_writer import EMPTY, csv_lines
from oneoff.services.data.driver import driver_connection
from oneoff.services.data.exports.query import sqlite_value
from oneoff.services.data.exports.sqlite_values import (
    FLOAT,
    MOMENTS,
    Cases,
    canonical,
    case,
    fast_text,
    has_no_zero,
    is_finite,
    is_moment,
    moment_cases,
    moment_number,
    number_cases,
    text_of_any,
    without_zeros,
    write_float,
)
from oneoff.services.data.exports.text_formats import ROWS_A_STATEMENT, insert_head
from oneoff.services.data.tables import quote, quote_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.services.data.columns import Column
    from oneoff.services.data.exports.query import Condition, Query
    from oneoff.services.data.files import Format

# A multiple of ROWS_A_STATEMENT: each read starts a new INSERT statement.
ROWS_A_READ = 20 * ROWS_A_STATEMENT
_EMPTY = f"CAST(x'{EMPTY.hex()}' AS TEXT)"


async def export_sqlite(
    connection: AsyncConnection,
    query: Query,
    file_format: Format,
    take: Callable[[bytes], Awaitable[None]],
    expect: Callable[[int], None],
) -> int:
    """Send the rows, each followed by a line feed, and return their number.

    Args:
        connection: The run's connection.
        query: The rows and columns to export.
        file_format: Determines what a row is: a csv line, a JSON object, or a row of an INSERT
            statement with the text before it.
        take: Called with complete lines. With csv, the first line is the header.
        expect: Called once, after the header, with the number of rows; 0 if it is unknown.
    """
    conditions, values = _conditions(query.conditions)
    expressions, join_rows = _row_expressions(query, file_format)
    if file_format == "csv":
        await take(csv_lines([[column.name.encode() for column in query.columns]]))
    driver = await driver_connection(connection)
    await driver.create_function(FLOAT, 1, write_float, deterministic=True)
    expect(await _expected_rows(driver, query))
    # Read texts as bytes. Decoding them here and encoding them for the file would take longer.
    text_factory, driver.text_factory = driver.text_factory, bytes
    count = 0
    try:
        async with driver.execute(query.select(expressions, conditions), values) as cursor:
            while rows := await cursor.fetchmany(ROWS_A_READ):
                lines = join_rows(rows)
                if file_format != "sql":
                    _check_text(lines, rows, query, file_format)
                await take(lines)
                count += len(rows)
    finally:
        driver.text_factory = text_factory
    return count


def _check_text(
    lines: bytes, rows: Sequence[Sequence[bytes]], query: Query, file_format: Format
) -> None:
    """Refuse texts that the file can't contain: SQLite stores any bytes as a text.

    Raises:
        DataError: A text is not UTF-8, or contains a zero character that JSON does not escape.
    """
    if not _is_bad_text(lines):
        return
    row = next(row for row in rows if any(map(_is_bad_text, row)))
    at = next(at for at, cell in enumerate(row) if _is_bad_text(cell))
    where = f"column {query.columns[at].name}" if len(row) == len(query.columns) else "a column"
    raise DataError(
        f"{where} of {query.table.name} contains a text with a zero character, or one that is not "
        "UTF-8",
        why=f"a {file_format} file can't contain such a text",
        try_="export as sql, or leave the column or the row out with --columns or --where",
        code="not-text",
    )


def _is_bad_text(text: bytes) -> bool:
    if b"\0" in text:
        return True
    try:
        return text != EMPTY and not text.isascii() and text.decode() is None
    except UnicodeDecodeError:
        return True


async def _expected_rows(driver: Any, query: Query) -> int:
    """Return the number of rows, or 0 if counting them would take as long as the export."""
    if query.conditions or not query.table.key:  # without a key it may be a view
        return 0
    async with driver.execute(f"SELECT count(*) FROM {query.table.quoted}") as cursor:  # noqa: S608 - quoted
        (rows,) = await cursor.fetchone()
    return int(rows if query.limit is None else min(rows, query.limit))


def _row_expressions(
    query: Query, file_format: Format
) -> tuple[list[str], Callable[[Sequence[Sequence[bytes]]], bytes]]:
    """Return the SQL of the values to read, and the function that converts rows to lines."""
    if file_format == "csv":
        return [_csv_cell(query, column) for column in query.columns], csv_lines
    if file_format == "sql":
        columns = writable(query.columns)
        values = " || ',' || ".join(
            f"quote({_mask(column)})" if query.masks(column) else _sql_literal(column)
            for column in columns
        )
        head = f";\n{insert_head(query)}(".encode()
        return [f"{values} || ')'"], lambda rows: _insert_statements(head, _texts(rows))
    import json

    member = _parquet_member if file_format == "parquet" else _json_member
    names = [json.dumps(column.name, ensure_ascii=False) for column in query.columns]
    members = " || ',' || ".join(
        f"{quote_text(name + ':')} || {member(query, column)}"
        for name, column in zip(names, query.columns, strict=True)
    )
    return [f"'{{' || {members} || '}}'"], lambda rows: b"\n".join(_texts(rows)) + b"\n"


def _texts(rows: Sequence[Sequence[bytes]]) -> list[bytes]:
    return [row[0] for row in rows]


def _insert_statements(head: bytes, texts: Sequence[bytes]) -> bytes:
    parts = []
    for at in range(0, len(texts), ROWS_A_STATEMENT):
        parts += [head, b"\n,(".join(texts[at : at + ROWS_A_STATEMENT]), b"\n"]
    return b"".join(parts)


def _conditions(conditions: Sequence[Condition]) -> tuple[list[str], list[Any]]:
    """Return the SQL of the conditions, and their parameters."""
    tests, values = [], []
    for condition in conditions:
        name, value = quote(condition.column.name), sqlite_value(condition)
        if value is None:
            tests.append(f"{name} IS {'NOT ' if condition.operator == '!=' else ''}NULL")
            continue
        values.append(value)
        if condition.operator == "~":
            tests.append(f"instr({name}, ?) > 0")
            continue
        side = without_zeros(name) if condition.column.kind in MOMENTS else name
        # IS NOT: unlike in SQL, where `NULL <> 'x'` is not true, a NULL differs from the value.
        tests.append(f"{side} {'IS NOT' if condition.operator == '!=' else condition.operator} ?")
    return tests, values


def _csv_cell(query: Query, column: Column) -> str:
    """Return the SQL of a cell for `csv_lines`: '' for NULL, `EMPTY` for the empty text."""
    name = quote(column.name)
    if query.masks(column):
        return f"coalesce({_mask(column)}, '')"
    fast = fast_text(column) or [(_is_text(name), name)]
    if query.excel_safe and column.kind in FREE_TEXT:
        signs = ", ".join(f"char({ord(sign)})" for sign in FORMULA_SIGNS)
        formula = f"substr({name}, 1, 1) IN ({signs})"
        ((is_text, text),) = fast
        fast = [(f"{is_text} AND {formula}", f"'''' || {name}"), (is_text, text)]
    rest = f"coalesce({_marked_if_empty(text_of_any(name))}, '')"
    return case(fast, rest)


def _is_text(name: str) -> str:
    """Return the SQL of a condition: the value is a text that is not empty."""
    # In SQLite's order such texts are between '' and `_EMPTY`, which is before all blobs. Calling
    # typeof() would take twice as long. BINARY, because the column's own collation may have another
    # order, or be defined only in the application.
    return f"{name} COLLATE BINARY > '' AND {name} COLLATE BINARY < {_EMPTY}"


def _marked_if_empty(text: str) -> str:
    # A text that is `_EMPTY` itself is not UTF-8. It is doubled, and then refused.
    return (
        f"CASE {text} WHEN '' THEN {_EMPTY} WHEN {_EMPTY} THEN {text} || {_EMPTY} ELSE {text} END"
    )


def _json_member(query: Query, column: Column) -> str:
    name = quote(column.name)
    if query.masks(column):
        return f"json_quote({_mask(column)})"
    return case(_fast_json(column), f"json_quote({text_of_any(name)})")


def _parquet_member(query: Query, column: Column) -> str:
    """Return the SQL of one member of the JSON object that `exports.parquet` parses."""
    name, kind = quote(column.name), column.kind
    if query.masks(column):
        return _json_member(query, column)
    if kind in MOMENTS:
        fast = [(is_moment(name, kind), moment_number(name, kind))]
    elif kind in (Kind.BOOLEAN, Kind.INTEGER):
        fast = _fast_json(column)
    else:
        return f"json_quote({canonical(column)})"
    # What is not of the column's type is written as a text, and Arrow refuses it.
    return case(fast, f"json_quote({text_of_any(name)})")


def _fast_json(column: Column) -> Cases:
    name, kind = quote(column.name), column.kind
    if kind is Kind.BOOLEAN:
        words = [(f"{name} = 1", "'true'"), (f"{name} = 0", "'false'")]
        return [*words, *number_cases(name, None)]
    if kind in (Kind.INTEGER, Kind.FLOAT):
        return number_cases(name, None)
    if kind is Kind.JSON:
        # SQLite stores a JSON value that is only a number as a number. json() would write only 15
        # of its digits. It ignores what follows a zero character.
        valid = f"json_valid({name}) AND {has_no_zero(name)}"
        return [(is_finite(name), f"{FLOAT}({name})"), (valid, f"json({name})")]
    if kind in (Kind.TIMESTAMP, Kind.INSTANT):
        zone = "+00:00" if kind is Kind.INSTANT else ""
        return [
            (condition, f"'\"' || replace({text}, ' ', 'T') || '{zone}\"'")
            for condition, text in moment_cases(name, kind)
        ]
    fast = fast_text(column)
    if kind in (*MOMENTS, Kind.UUID):
        return [(condition, f"'\"' || {text} || '\"'") for condition, text in fast]
    return fast


def _sql_literal(column: Column) -> str:
    """Return the SQL that writes a value as an SQL literal."""
    # quote() ends at a zero character in a text, and has no literal for infinity. SQLite reads
    # 9e999, which is too large for a float, as infinity.
    name = quote(column.name)
    cut = f"typeof({name}) = 'text' AND instr({name}, char(0))"
    as_bytes = f"'CAST(x''' || hex({name}) || ''' AS TEXT)'"
    infinite = f"typeof({name}) = 'real' AND abs({name}) = 9e999"
    return (
        f"CASE WHEN {cut} THEN {as_bytes} "
        f"WHEN {infinite} THEN iif({name} > 0, '9e999', '-9e999') ELSE quote({name}) END"
    )


def _mask(column: Column) -> str:
    if column.mask is None:
        return "NULL"
    return f"CASE WHEN {quote(column.name)} IS NOT NULL THEN '{MASK}' END"
