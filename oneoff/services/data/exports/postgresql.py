"""Export rows from PostgreSQL: the server formats them and sends them by COPY."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from oneoff.database import sqlstates
from oneoff.database.errors import sqlstate_of
from oneoff.services.data.columns import (
    FORMULA_SIGNS,
    FREE_TEXT,
    INFINITE_DAY,
    INFINITE_MOMENT,
    MASK,
    Kind,
    writable,
)
from oneoff.services.data.driver import driver_with_settings
from oneoff.services.data.exports.query import bad_value
from oneoff.services.data.exports.text_formats import (
    DELIMITER,
    QUOTE,
    ROWS_A_STATEMENT,
    insert_head,
)
from oneoff.services.data.tables import quote, quote_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.services.data.columns import Column
    from oneoff.services.data.exports.query import Condition, Query
    from oneoff.services.data.files import Format

_READY_TEXT = {"format": "csv", "quote": QUOTE, "delimiter": DELIMITER}
_LARGE_PART = 64 * 1024  # bytes; after a smaller part the reader pauses
_PAUSE = 0.001  # seconds
# Its number of microseconds means infinity, so it is written as a number that Arrow refuses.
_LAST_MOMENT = "294247-01-10 04:00:54.775807+00"


async def export_postgresql(
    connection: AsyncConnection,
    query: Query,
    file_format: Format,
    take: Callable[[bytes], Awaitable[None]],
    expect: Callable[[int], None],
) -> int:
    """Send the rows of one snapshot, each followed by a line feed, and return their number.

    Args:
        connection: The run's connection. Its transaction is read-only, and a signal cancels its
            statements.
        query: The rows and columns to export.
        file_format: Determines what a row is: a csv line, a JSON object, or a row of an INSERT
            statement with the text before it, quoted by COPY as `text_formats.QUOTE` describes.
        take: Called with complete lines. With csv, the first line is the header.
        expect: Called once, before `take`, with the estimated number of rows.
    """
    driver = await driver_with_settings(connection)
    conditions = [await _condition(driver, condition) for condition in query.conditions]
    expect(await _estimate(driver, query.select(["1"], conditions)))
    options: dict[str, Any] = _READY_TEXT
    if file_format == "csv":
        cells = [_csv_cell(query, column) for column in query.columns]
        statement = query.select(cells, conditions)
        options = {"format": "csv", "header": True}
    elif file_format == "sql":
        statement = _select_inserts(query, conditions)
    else:
        member = _parquet_member if file_format == "parquet" else _json_member
        rows = query.select([member(query, column) for column in query.columns], conditions)
        # `t.*` is always the row. `t` alone would mean a column named `t`, if one exists.
        statement = f"SELECT row_to_json(t.*) FROM ({rows}) t"  # noqa: S608
    status: str = await driver.copy_from_query(statement, output=_gathered(take), **options)
    return int(status.rpartition(" ")[2])


def _gathered(take: Callable[[bytes], Awaitable[None]]) -> Callable[[bytes], Awaitable[None]]:
    """Return a callback that makes asyncpg pass rows in fewer, larger parts."""
    # The server sends 8 KiB at a time, and waking up for each part is most of this process's work.
    # During a short pause about a dozen parts collect in the socket while the server continues.
    # This process then needs half the time, and the export three quarters of it.

    async def gather(rows: bytes) -> None:
        await take(rows)
        if len(rows) < _LARGE_PART:
            await asyncio.sleep(_PAUSE)

    return gather


async def _estimate(driver: Any, query: str) -> int:
    """Return the planner's estimate of the number of rows."""
    import json

    plan = await driver.fetchval(f"EXPLAIN (FORMAT JSON) {query}")
    # asyncpg returns JSON as text; SQLAlchemy may have set a codec that decodes it.
    decoded: Any = json.loads(plan) if isinstance(plan, str) else plan
    return int(decoded[0]["Plan"]["Plan Rows"])


async def _condition(driver: Any, condition: Condition) -> str:
    """Return the SQL of a condition.

    Raises:
        UsageError: The value is not of the column's type, or the type has no such operator.
    """
    name, operator = quote(condition.column.name), condition.operator
    if condition.value is None:
        return f"{name} IS {'NOT ' if operator == '!=' else ''}NULL"
    literal = await driver.fetchval("SELECT quote_literal($1::text)", condition.value)
    if operator == "~":
        return f"strpos({name}::text, {literal}) > 0"
    operator = "IS DISTINCT FROM" if operator == "!=" else operator
    try:
        # An untyped literal gets the type of the other side without its length, so PostgreSQL
        # doesn't truncate it. Evaluating it here reports a wrong value before the export starts.
        # The type below a domain: the domain itself may not accept NULL.
        await driver.fetchval(f"SELECT NULL::{condition.column.base_type} {operator} {literal}")
    except Exception as exc:
        if sqlstate_of(exc).startswith((sqlstates.DATA_EXCEPTION, sqlstates.UNDEFINED_FUNCTION)):
            raise bad_value(condition) from exc
        raise
    return f"{name} {operator} {literal}"


def _mask(column: Column) -> str:
    name = quote(column.name)
    if column.mask is None:
        return f"NULL::{column.base_type} AS {name}"  # a domain may refuse NULL
    return f"CASE WHEN {name} IS NOT NULL THEN '{MASK}' END AS {name}"


def _text(column: Column) -> str:
    """Return the SQL of a value's text."""
    name = quote(column.name)
    if column.leaf:
        return f"{name}::text"
    # A cast may be defined as a function, and then its text may differ from the type's own text.
    # IS DISTINCT FROM, because a composite value of only NULLs IS NULL.
    return f"CASE WHEN {name} IS DISTINCT FROM NULL THEN format('%s', {name}) END"


def _csv_cell(query: Query, column: Column) -> str:
    """Return the SQL of a csv cell; COPY converts the value to text."""
    name = quote(column.name)
    if query.masks(column):
        return _mask(column)
    if query.excel_safe and column.kind in FREE_TEXT:
        signs = ", ".join(f"E'\\x{ord(sign):02x}'" for sign in FORMULA_SIGNS)
        text = _text(column)
        return (
            f"CASE WHEN left({text}, 1) IN ({signs}) THEN '''' || {text} ELSE {text} END AS {name}"
        )
    return name


def _json_member(query: Query, column: Column) -> str:
    """Return the SQL of one member of a row's JSON object."""
    name = quote(column.name)
    if query.masks(column):
        return _mask(column)
    if column.kind is Kind.ARRAY and column.leaf in ("json", "jsonb"):
        # In an array of JSON, a value that is an array would be read back as another dimension.
        return f"{_text(column)} AS {name}"
    if column.leaf == "json":
        # The type json stores the text as entered. Its line ends would split the row's line.
        return f"translate({name}::text, E'\\n\\r', '  ')::json AS {name}"
    if column.leaf:
        return name
    # row_to_json would write a composite value as an object, with the line ends of a member of type
    # json, and would use a cast to json, which an extension or the project may have defined.
    text = f"{name}::text[]" if column.kind is Kind.ARRAY else _text(column)
    return f"{text} AS {name}"


def _parquet_member(query: Query, column: Column) -> str:
    """Return the SQL of one member of the JSON object that `exports.parquet` parses."""
    name, kind = quote(column.name), column.kind
    if query.masks(column):
        return _mask(column)
    if kind in (Kind.BOOLEAN, Kind.INTEGER):
        return name
    # Without a cast to bigint, which would fail: Arrow refuses a number of more than 64 bits.
    microseconds = f"trunc(extract(epoch FROM {name}) * 1000000)"
    if kind is Kind.TIME:
        return f"{microseconds} AS {name}"
    if kind is Kind.DATE:
        return _finite(name, f"{name} - DATE '1970-01-01'", INFINITE_DAY)
    if kind in (Kind.TIMESTAMP, Kind.INSTANT):
        return _finite(name, microseconds, INFINITE_MOMENT, f"WHEN '{_LAST_MOMENT}' THEN 1e19")
    return f"{_text(column)} AS {name}"


def _finite(name: str, number: str, infinite: int, when: str = "") -> str:
    """Return the SQL of a number, with `infinite` in place of PostgreSQL's infinity."""
    return (
        f"CASE {name} WHEN 'infinity' THEN {infinite} WHEN '-infinity' THEN -{infinite} {when} "
        f"ELSE {number} END AS {name}"
    )


def _select_inserts(query: Query, conditions: list[str]) -> str:
    """Return a SELECT that writes each row as a part of an INSERT statement.

    The first of every `ROWS_A_STATEMENT` rows ends a statement and starts the next one.
    """
    columns = writable(query.columns)
    values = [_mask(column) if query.masks(column) else quote(column.name) for column in columns]
    head = quote_text(f";\n{insert_head(query)}(")
    # `||` with NULL is NULL, so each literal must be a text: _sql_literal writes 'NULL' for NULL.
    literals = " || ',' || ".join(map(_sql_literal, columns))
    return (
        f"SELECT CASE (row_number() OVER () - 1) % {ROWS_A_STATEMENT} "  # noqa: S608
        f"WHEN 0 THEN {head} ELSE ',(' END || {literals} || ')' "
        f"FROM ({query.select(values, conditions)}) t"
    )


def _sql_literal(column: Column) -> str:
    """Return the SQL that writes a value as an SQL literal, and NULL as the text NULL."""
    text = _text(column)
    if column.kind in (Kind.INTEGER, Kind.BOOLEAN):
        return f"coalesce({text}, 'NULL')"
    return f"quote_nullable({text})"
