"""Rows out of PostgreSQL: the server writes them, COPY carries them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from oneoff.database.errors import sqlstate_of
from oneoff.services.data.columns import (
    FORMULA_SIGNS,
    FREE_TEXT,
    INFINITE_DAY,
    INFINITE_MOMENT,
    MASK,
    Kind,
    settings_statement,
    writable,
)
from oneoff.services.data.exports.text_formats import DELIMITER, QUOTE, ROWS_A_STATEMENT, insert_head
from oneoff.services.data.exports.conditions import wrong_value
from oneoff.services.data.tables import quote

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.services.data.columns import Column
    from oneoff.services.data.exports.query import Selection
    from oneoff.services.data.exports.conditions import Condition
    from oneoff.services.data.files import Format

_AS_IT_IS = {"format": "csv", "quote": QUOTE, "delimiter": DELIMITER}
_MANY = 64 * 1024
_PAUSE = 0.001
_NO_SUCH_OPERATOR = "42883"
_BAD_VALUE = "22"


async def export_postgresql(
    session: AsyncSession,
    selection: Selection,
    kind: Format,
    take: Callable[[bytes], Awaitable[None]],
    expect: Callable[[int], None],
) -> int:
    """Send the rows, each ended by a line feed, and return how many there were.

    They are those of one snapshot. Everything goes over the connection of the session, so what
    holds for that holds here: it only reads, and a signal stops the server too.

    Args:
        session: Of the run.
        selection: What to take.
        kind: A row is a line of csv, or one JSON object, or a row of an INSERT statement with what
            stands before it, quoted as `framing` says.
        take: Gets whole lines, with the csv's header before them.
        expect: Gets, before them, about how many there will be; 0 when nobody knows.
    """
    raw = await (await session.connection()).get_raw_connection()
    driver: Any = raw.driver_connection
    await driver.execute(settings_statement())
    tests = [await _test(driver, condition) for condition in selection.conditions]
    expect(await _estimate(driver, selection.select(["1"], tests)))
    options: dict[str, Any] = _AS_IT_IS
    if kind == "csv":
        query = selection.select([_cell(selection, column) for column in selection.columns], tests)
        options = {"format": "csv", "header": True}
    elif kind == "sql":
        query = _statements(selection, tests)
    else:
        member = _arrow_member if kind == "parquet" else _member
        items = [member(selection, column) for column in selection.columns]
        # With the star it is the row, also where a column is called `t`.
        query = f"SELECT row_to_json(t.*) FROM ({selection.select(items, tests)}) t"  # noqa: S608
    status: str = await driver.copy_from_query(query, output=_gathered(take), **options)
    return int(status.rpartition(" ")[2])


def _gathered(take: Callable[[bytes], Awaitable[None]]) -> Callable[[bytes], Awaitable[None]]:
    """Take rows in fewer and larger parts.

    The server sends 8 KiB at a time, and to wake up for each is most of what a fast export would
    cost here. Who pauses for a moment finds a dozen of them in the socket, and the server goes on
    meanwhile: half the time of this process, and three quarters of the whole.
    """

    async def gather(rows: bytes) -> None:
        await take(rows)
        if len(rows) < _MANY:
            await asyncio.sleep(_PAUSE)

    return gather


async def _estimate(driver: Any, query: str) -> int:
    """Return the planner's guess at the number of rows."""
    import json

    plan = await driver.fetchval(f"EXPLAIN (FORMAT JSON) {query}")
    # A text for asyncpg alone; SQLAlchemy sets a codec.
    facts: Any = json.loads(plan) if isinstance(plan, str) else plan
    return int(facts[0]["Plan"]["Plan Rows"])


async def _test(driver: Any, condition: Condition) -> str:
    """Return a condition as SQL.

    Raises:
        UsageError: The value is none of the column's type, or those can't be compared.
    """
    name, how = quote(condition.column.name), condition.how
    if condition.value is None:
        return f"{name} IS {'NOT ' if how == '!=' else ''}NULL"
    literal = await driver.fetchval("SELECT quote_literal($1::text)", condition.value)
    if how == "~":
        return f"strpos({name}::text, {literal}) > 0"
    how = "IS DISTINCT FROM" if how == "!=" else how
    try:
        # A bare literal takes the column's type, without its length.
        await driver.fetchval(f"SELECT NULL::{condition.column.type} {how} {literal}")
    except Exception as exc:
        if sqlstate_of(exc).startswith((_BAD_VALUE, _NO_SUCH_OPERATOR)):
            raise wrong_value(condition) from exc
        raise
    return f"{name} {how} {literal}"


def _masked(column: Column) -> str:
    name = quote(column.name)
    if column.mask is None:
        return f"NULL::{column.type} AS {name}"
    return f"CASE WHEN {name} IS NOT NULL THEN '{MASK}' END AS {name}"


def _cell(selection: Selection, column: Column) -> str:
    """Return a column as csv shows it; COPY writes it in its own text form."""
    name = quote(column.name)
    if selection.hides(column):
        return _masked(column)
    if selection.excel_safe and column.kind in FREE_TEXT:
        signs = ", ".join(f"E'\\x{ord(sign):02x}'" for sign in FORMULA_SIGNS)
        text = f"{name}::text"
        return (
            f"CASE WHEN left({text}, 1) IN ({signs}) THEN '''' || {text} ELSE {text} END AS {name}"
        )
    return name


def _member(selection: Selection, column: Column) -> str:
    """Return a column as a member of a JSON object."""
    name = quote(column.name)
    if selection.hides(column):
        return _masked(column)
    if column.type in ("json", "json[]"):
        # Kept as it was typed, line ends included; those would break the line in two.
        flat = f"translate({name}::text, E'\\n\\r', '  ')"
        return f"{flat}::{column.type} AS {name}"
    return name


def _arrow_member(selection: Selection, column: Column) -> str:
    """Return a column as `oneoff.services.data.exports.arrow` takes it."""
    name, kind = quote(column.name), column.kind
    if selection.hides(column):
        return _masked(column)
    if kind in (Kind.BOOLEAN, Kind.INTEGER):
        return name
    if kind is Kind.TIME:
        return f"(extract(epoch FROM {name}) * 1000000)::bigint AS {name}"
    if kind is Kind.DATE:
        number = f"{name} - DATE '1970-01-01'"
        return _finite(name, number, INFINITE_DAY)
    if kind in (Kind.TIMESTAMP, Kind.INSTANT):
        number = f"(extract(epoch FROM {name}) * 1000000)::bigint"
        return _finite(name, number, INFINITE_MOMENT)
    return f"{name}::text AS {name}"


def _finite(name: str, number: str, infinite: int) -> str:
    return (
        f"CASE {name} WHEN 'infinity' THEN {infinite} WHEN '-infinity' THEN -{infinite} "
        f"ELSE {number} END AS {name}"
    )


def _statements(selection: Selection, tests: list[str]) -> str:
    columns = writable(selection.columns)
    rows = selection.select([_plain(selection, column) for column in columns], tests)
    head = f";\n{insert_head(selection)}(".replace("'", "''")
    values = " || ',' || ".join(map(_literal, columns))
    return (
        f"SELECT CASE (row_number() OVER () - 1) % {ROWS_A_STATEMENT} "  # noqa: S608
        f"WHEN 0 THEN '{head}' ELSE ',(' END || {values} || ')' FROM ({rows}) t"
    )


def _plain(selection: Selection, column: Column) -> str:
    return _masked(column) if selection.hides(column) else quote(column.name)


def _literal(column: Column) -> str:
    """Return what writes a value as an SQL literal."""
    text = f"{quote(column.name)}::text"
    if column.kind in (Kind.INTEGER, Kind.BOOLEAN):
        return f"coalesce({text}, 'NULL')"
    return f"quote_nullable({text})"
