"""Export rows from SQLite: SQLite itself formats them, as PostgreSQL would.

Python's driver is the bottleneck: reading one text for each row takes a third of the time that
reading its values takes. A column of SQLite may contain values of any type. So each expression
first tests for the expected type, and otherwise uses an expression that is correct for all types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff.services.data.columns import FORMULA_SIGNS, FREE_TEXT, MASK, Kind, float_text, writable
from oneoff.services.data.csv_writer import EMPTY, csv_lines
from oneoff.services.data.driver import driver_connection
from oneoff.services.data.exports.query import sqlite_value
from oneoff.services.data.exports.text_formats import ROWS_A_STATEMENT, insert_head
from oneoff.services.data.tables import quote, quote_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.services.data.columns import Column
    from oneoff.services.data.exports.query import Condition, Query
    from oneoff.services.data.files import Format

Cases = list[tuple[str, str]]
"""SQL of conditions, each with the SQL of the value's text. The first condition that is met counts.
"""

# A multiple of ROWS_A_STATEMENT: each read starts a new INSERT statement.
ROWS_A_READ = 20 * ROWS_A_STATEMENT
_FLOAT = "oneoff_float"
_MOMENTS = (Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.INSTANT)


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
    await driver.create_function(_FLOAT, 1, _float_text, deterministic=True)
    expect(await _expected_rows(driver, query))
    # Read texts as bytes. Decoding them here and encoding them for the file would take longer.
    text_factory, driver.text_factory = driver.text_factory, bytes
    count = 0
    try:
        async with driver.execute(query.select(expressions, conditions), values) as cursor:
            while rows := await cursor.fetchmany(ROWS_A_READ):
                await take(join_rows(rows))
                count += len(rows)
    finally:
        driver.text_factory = text_factory
    return count


async def _expected_rows(driver: Any, query: Query) -> int:
    """Return the number of rows, or 0 if counting them would take as long as the export."""
    if query.conditions or not query.table.key:  # without a key it may be a view
        return 0
    async with driver.execute(f"SELECT count(*) FROM {query.table.quoted}") as cursor:  # noqa: S608 - quoted
        (rows,) = await cursor.fetchone()
    return int(rows if query.limit is None else min(rows, query.limit))


def canonical(column: Column) -> str:
    """Return the SQL of a value's canonical text; NULL for NULL."""
    return _case(_fast_text(column), _text_of_any(quote(column.name)))


def _case(fast: Cases, slow: str) -> str:
    whens = " ".join(f"WHEN {condition} THEN {text}" for condition, text in fast)
    return f"CASE {whens} ELSE {slow} END" if whens else slow


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
        side = _without_zeros(name) if condition.column.kind in _MOMENTS else name
        # IS NOT: unlike in SQL, where `NULL <> 'x'` is not true, a NULL differs from the value.
        tests.append(f"{side} {'IS NOT' if condition.operator == '!=' else condition.operator} ?")
    return tests, values


# --- texts of values -------------------------------------------------------------------------


def _text_of_any(name: str) -> str:
    """Return the SQL of a value's text, for any storage class."""
    return (
        f"CASE typeof({name}) WHEN 'real' THEN {_FLOAT}({name}) "
        f"WHEN 'blob' THEN '\\x' || lower(hex({name})) ELSE CAST({name} AS TEXT) END"
    )


def _fast_text(column: Column) -> Cases:
    """Return the cases for values of the column's own type, and their texts.

    None of them is met by the empty text.
    """
    name, kind = quote(column.name), column.kind
    if kind is Kind.INTEGER:
        return [(f"typeof({name}) = 'integer'", f"CAST({name} AS TEXT)")]
    if kind is Kind.BOOLEAN:
        return [(f"{name} = 1", "'t'"), (f"{name} = 0", "'f'")]
    if kind is Kind.FLOAT:
        return [(f"typeof({name}) = 'real'", f"{_FLOAT}({name})")]
    if kind is Kind.NUMERIC and column.scale is not None:
        finite = f"typeof({name}) IN ('integer', 'real') AND abs({name}) < 9e999"
        return [(finite, f"printf('%.{column.scale}f', {name})")]
    if kind is Kind.UUID:
        dashed = " || '-' || ".join(
            f"substr({name}, {start}, {length})" for start, length in _UUID_PARTS
        )
        return [(f"length({name}) = 32 AND {name} NOT GLOB '*[^0-9a-f]*'", dashed)]
    zone = " || '+00'" if kind is Kind.INSTANT else ""
    return [(condition, text + zone) for condition, text in _moment_cases(name, kind)]


def _moment_cases(name: str, kind: Kind) -> Cases:
    """Return the cases for values that look like a time of this kind, with texts without a zone."""
    # Patterns of question marks are fast. A stricter check would take a third of the export's time.
    shape = _SHAPES.get(kind)
    if shape is None:
        return []
    short = f"rtrim(rtrim({name}, '0'), '.')"
    whole = (f"{name} GLOB '{shape}'", name)
    if kind is Kind.DATE:
        return [whole]
    # Most fractions don't end in zeros. Removing zeros costs as much as the rest of the expression.
    exact = (f"{name} GLOB '{shape}.?????[1-9]'", name)
    return [exact, (f"{name} GLOB '{shape}.??????'", short), whole]


_SHAPES = {
    Kind.DATE: "????-??-??",
    Kind.TIME: "??:??:??",
    Kind.TIMESTAMP: "????-??-?? ??:??:??",
    Kind.INSTANT: "????-??-?? ??:??:??",
}
_UUID_PARTS = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))


def _without_zeros(name: str) -> str:
    """Return the SQL of a time without trailing zeros, as PostgreSQL writes it."""
    return f"CASE WHEN instr({name}, '.') THEN rtrim(rtrim({name}, '0'), '.') ELSE {name} END"


def _csv_cell(query: Query, column: Column) -> str:
    """Return the SQL of a cell for `csv_lines`: '' for NULL, `EMPTY` for the empty text."""
    name = quote(column.name)
    if query.masks(column):
        return f"coalesce({_mask(column)}, '')"
    fast = _fast_text(column) or [(_is_text(name), name)]
    if query.excel_safe and column.kind in FREE_TEXT:
        signs = ", ".join(f"char({ord(sign)})" for sign in FORMULA_SIGNS)
        formula = f"substr({name}, 1, 1) IN ({signs})"
        ((is_text, text),) = fast
        fast = [(f"{is_text} AND {formula}", f"'''' || {name}"), (is_text, text)]
    rest = f"coalesce({_marked_if_empty(_text_of_any(name))}, '')"
    return _case(fast, rest)


def _is_text(name: str) -> str:
    """Return the SQL of a condition: the value is a text that is not empty."""
    # In SQLite's order such texts are between '' and all blobs. Calling typeof() would take twice
    # as long. BINARY, because the column's own collation may have another order, or be defined
    # only in the application.
    return f"{name} COLLATE BINARY > '' AND {name} COLLATE BINARY < x''"


def _marked_if_empty(text: str) -> str:
    return f"CASE {text} WHEN '' THEN CAST(x'{EMPTY.hex()}' AS TEXT) ELSE {text} END"


def _json_member(query: Query, column: Column) -> str:
    name = quote(column.name)
    if query.masks(column):
        return f"json_quote({_mask(column)})"
    return _case(_fast_json(column), f"json_quote({_text_of_any(name)})")


def _parquet_member(query: Query, column: Column) -> str:
    """Return the SQL of one member of the JSON object that `exports.parquet` parses."""
    name, kind = quote(column.name), column.kind
    if query.masks(column):
        return _json_member(query, column)
    if kind in (Kind.BOOLEAN, Kind.INTEGER):
        return _case(_fast_json(column), f"json_quote({name})")
    if kind in _MOMENTS:
        day = f"'1970-01-01 ' || {name}" if kind is Kind.TIME else name
        seconds = (
            # 19 characters: without the fraction, which strftime() would round.
            f"CAST(strftime('%s', substr({day}, 1, 19)) AS INTEGER)"
        )
        number = (
            f"{seconds} / 86400"
            if kind is Kind.DATE
            else f"{seconds} * 1000000 + {_microseconds(name)}"
        )
        # strftime() returns NULL for NULL, and for a value that is no time. json_quote() writes
        # such a value unchanged, and Arrow refuses it if it is not NULL.
        return f"coalesce({number}, json_quote({name}))"
    return f"json_quote({canonical(column)})"


def _microseconds(name: str) -> str:
    """Return the SQL of a time's fraction in microseconds."""
    fraction = f"substr(substr({name}, instr({name}, '.') + 1) || '00000', 1, 6)"
    return f"iif(instr({name}, '.'), CAST({fraction} AS INTEGER), 0)"


def _fast_json(column: Column) -> Cases:
    name, kind = quote(column.name), column.kind
    if kind is Kind.BOOLEAN:
        return [(f"{name} = 1", "'true'"), (f"{name} = 0", "'false'")]
    if kind is Kind.FLOAT:
        return [(f"typeof({name}) = 'real' AND abs({name}) < 9e999", f"{_FLOAT}({name})")]
    if kind is Kind.JSON:
        # SQLite stores a JSON value that is only a number as a number. json() would write only 15
        # of its digits.
        number = f"typeof({name}) = 'real' AND abs({name}) < 9e999"
        return [(number, f"{_FLOAT}({name})"), (f"json_valid({name})", f"json({name})")]
    if kind in (Kind.TIMESTAMP, Kind.INSTANT):
        zone = "+00:00" if kind is Kind.INSTANT else ""
        return [
            (condition, f"'\"' || replace({text}, ' ', 'T') || '{zone}\"'")
            for condition, text in _moment_cases(name, kind)
        ]
    fast = _fast_text(column)
    if kind in (*_MOMENTS, Kind.UUID):
        return [(condition, f"'\"' || {text} || '\"'") for condition, text in fast]
    return fast


def _sql_literal(column: Column) -> str:
    """Return the SQL that writes a value as an SQL literal."""
    # quote() keeps every bit, but has no literal for infinity. SQLite reads 9e999, which is too
    # large for a float, as infinity.
    name = quote(column.name)
    if column.kind is Kind.TEXT:
        return f"quote({name})"
    infinite = f"typeof({name}) = 'real' AND abs({name}) = 9e999"
    return f"CASE WHEN {infinite} THEN iif({name} > 0, '9e999', '-9e999') ELSE quote({name}) END"


def _mask(column: Column) -> str:
    if column.mask is None:
        return "NULL"
    return f"CASE WHEN {quote(column.name)} IS NOT NULL THEN '{MASK}' END"


def _float_text(value: object) -> object:
    return float_text(value) if isinstance(value, float) else value
