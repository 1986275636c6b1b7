"""Rows out of SQLite: each is made one text by SQLite itself, in the form PostgreSQL gives it.

Python's driver is the bound here: one text a row is read in a third of the time of its values. A
column of SQLite may hold values of any type, so each expression first asks for the one that is
expected, and falls back to one that is right for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff.services.data.columns import FORMULA_SIGNS, FREE_TEXT, MASK, Kind, float_text, writable
from oneoff.services.data.csv_writer import EMPTY, cell, csv_lines
from oneoff.services.data.exports.text_formats import ROWS_A_STATEMENT, insert_head
from oneoff.services.data.exports.conditions import sqlite_value
from oneoff.services.data.tables import quote

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.services.data.columns import Column
    from oneoff.services.data.exports.query import Selection
    from oneoff.services.data.exports.conditions import Condition
    from oneoff.services.data.files import Format

Cases = list[tuple[str, str]]
"""Conditions, and the text of a value that meets the first of them; both are SQL."""

ROWS_A_READ = 20 * ROWS_A_STATEMENT
_FLOAT = "oneoff_float"
_MOMENTS = (Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.INSTANT)


async def export_sqlite(
    session: AsyncSession,
    selection: Selection,
    kind: Format,
    take: Callable[[bytes], Awaitable[None]],
    expect: Callable[[int], None],
) -> int:
    """Send the rows, each ended by a line feed, and return how many there were.

    Args:
        session: Of the run.
        selection: What to take.
        kind: A row is a line of csv, or one JSON object, or a row of an INSERT statement with what
            stands before it.
        take: Gets whole lines, with the csv's header before them.
        expect: Gets, before them, about how many there will be; 0 when nobody knows.
    """
    tests, values = _tests(selection.conditions)
    items, joined = _rows(selection, kind)
    if kind == "csv":
        names = [column.name.encode() for column in selection.columns]
        await take(b",".join(map(cell, names)) + b"\n")
    raw = await (await session.connection()).get_raw_connection()
    driver: Any = raw.driver_connection
    await driver.create_function(_FLOAT, 1, _float_text, deterministic=True)
    expect(await _count(driver, selection))
    text_factory, driver.text_factory = driver.text_factory, bytes
    count = 0
    try:
        async with driver.execute(selection.select(items, tests), values) as cursor:
            while rows := await cursor.fetchmany(ROWS_A_READ):
                await take(joined(rows))
                count += len(rows)
    finally:
        driver.text_factory = text_factory
    return count


async def _count(driver: Any, selection: Selection) -> int:
    """Return how many rows there are, or 0 where to count them would be the work itself."""
    may_be_a_view = not selection.table.key
    if selection.conditions or may_be_a_view:
        return 0
    async with driver.execute(f"SELECT count(*) FROM {selection.table.quoted}") as cursor:  # noqa: S608 - quoted
        (rows,) = await cursor.fetchone()
    return int(rows if selection.limit is None else min(rows, selection.limit))


def canonical(column: Column) -> str:
    """Return the SQL of a value's canonical text, which is NULL for NULL."""
    return _case(_fast(column), _any(quote(column.name)))


def _case(fast: Cases, slow: str) -> str:
    whens = " ".join(f"WHEN {condition} THEN {text}" for condition, text in fast)
    return f"CASE {whens} ELSE {slow} END" if whens else slow


def _rows(
    selection: Selection, kind: Format
) -> tuple[list[str], Callable[[Sequence[Sequence[bytes]]], bytes]]:
    """Return the SQL of what is read of a row, and what makes lines of some rows."""
    if kind == "csv":
        return [_cell(selection, column) for column in selection.columns], csv_lines
    if kind == "sql":
        columns = writable(selection.columns)
        values = " || ',' || ".join(
            f"quote({_masked(column)})" if selection.hides(column) else _literal(column)
            for column in columns
        )
        head = f";\n{insert_head(selection)}(".encode()
        return [f"{values} || ')'"], lambda rows: _statements(head, _texts(rows))
    member = _arrow_member if kind == "parquet" else _member
    members = " || ',' || ".join(
        f"{_sql_text(_json_name(column.name) + ':')} || {member(selection, column)}"
        for column in selection.columns
    )
    return [f"'{{' || {members} || '}}'"], lambda rows: b"\n".join(_texts(rows)) + b"\n"


def _texts(rows: Sequence[Sequence[bytes]]) -> list[bytes]:
    return [row[0] for row in rows]


def _statements(head: bytes, texts: Sequence[bytes]) -> bytes:
    parts = []
    for at in range(0, len(texts), ROWS_A_STATEMENT):
        parts += [head, b"\n,(".join(texts[at : at + ROWS_A_STATEMENT]), b"\n"]
    return b"".join(parts)


def _tests(conditions: Sequence[Condition]) -> tuple[list[str], list[Any]]:
    tests, values = [], []
    for condition in conditions:
        name, value = quote(condition.column.name), sqlite_value(condition)
        if value is None:
            tests.append(f"{name} IS {'NOT ' if condition.how == '!=' else ''}NULL")
            continue
        values.append(value)
        if condition.how == "~":
            tests.append(f"instr({name}, ?) > 0")
            continue
        side = _short_moment(name) if condition.column.kind in _MOMENTS else name
        tests.append(f"{side} {'IS NOT' if condition.how == '!=' else condition.how} ?")
    return tests, values


# --- texts of values -------------------------------------------------------------------------


def _any(name: str) -> str:
    """Return the text of a value of any storage class."""
    return (
        f"CASE typeof({name}) WHEN 'real' THEN {_FLOAT}({name}) "
        f"WHEN 'blob' THEN '\\x' || lower(hex({name})) ELSE CAST({name} AS TEXT) END"
    )


def _fast(column: Column) -> Cases:
    """Return when a value is one that the column is meant for, and its text then.

    The empty text is none of them.
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
    return [(condition, text + zone) for condition, text in _moment(name, kind)]


def _moment(name: str, kind: Kind) -> Cases:
    """Return when a value looks like a time of this kind, and its text without a zone.

    A pattern without a star is looked at once; a closer look would cost a third of the export.
    """
    shape = _SHAPES.get(kind)
    if shape is None:
        return []
    short = f"rtrim(rtrim({name}, '0'), '.')"
    whole = (f"{name} GLOB '{shape}'", name)
    if kind is Kind.DATE:
        return [whole]
    # Most fractions have no zeros to take away, which costs as much as all the rest of a time.
    exact = (f"{name} GLOB '{shape}.?????[1-9]'", name)
    return [exact, (f"{name} GLOB '{shape}.??????'", short), whole]


_SHAPES = {
    Kind.DATE: "????-??-??",
    Kind.TIME: "??:??:??",
    Kind.TIMESTAMP: "????-??-?? ??:??:??",
    Kind.INSTANT: "????-??-?? ??:??:??",
}
_UUID_PARTS = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))


def _short_moment(name: str) -> str:
    """Return a time without zeros at the end of its fraction, as PostgreSQL writes it."""
    return f"CASE WHEN instr({name}, '.') THEN rtrim(rtrim({name}, '0'), '.') ELSE {name} END"


def _cell(selection: Selection, column: Column) -> str:
    """Return the SQL of a cell's text as `csv_lines` takes it."""
    name = quote(column.name)
    if selection.hides(column):
        return f"coalesce({_masked(column)}, '')"
    fast = _fast(column) or [(_is_text(name), name)]
    if selection.excel_safe and column.kind in FREE_TEXT:
        signs = ", ".join(f"char({ord(sign)})" for sign in FORMULA_SIGNS)
        formula = f"substr({name}, 1, 1) IN ({signs})"
        ((is_text, text),) = fast
        fast = [(f"{is_text} AND {formula}", f"'''' || {name}"), (is_text, text)]
    rest = f"coalesce({_not_empty(_any(name))}, '')"
    return _case(fast, rest)


def _is_text(name: str) -> str:
    """Return whether a value is a text and not the empty one: those lie between '' and blobs.

    A call of typeof() would cost twice as much. The collation of a column may be unknown here.
    """
    return f"{name} COLLATE BINARY > '' AND {name} COLLATE BINARY < x''"


def _not_empty(text: str) -> str:
    return f"CASE {text} WHEN '' THEN CAST(x'{EMPTY.hex()}' AS TEXT) ELSE {text} END"


def _member(selection: Selection, column: Column) -> str:
    name = quote(column.name)
    if selection.hides(column):
        return f"json_quote({_masked(column)})"
    return _case(_json_fast(column), f"json_quote({_any(name)})")


def _arrow_member(selection: Selection, column: Column) -> str:
    """Return a column as `oneoff.services.data.exports.arrow` takes it."""
    name, kind = quote(column.name), column.kind
    if selection.hides(column):
        return _member(selection, column)
    if kind in (Kind.BOOLEAN, Kind.INTEGER):
        return _case(_json_fast(column), f"json_quote({name})")
    if kind in _MOMENTS:
        day = f"'1970-01-01 ' || {name}" if kind is Kind.TIME else name
        seconds = f"CAST(strftime('%s', substr({day}, 1, 19)) AS INTEGER)"  # would round
        number = (
            f"{seconds} / 86400" if kind is Kind.DATE else f"{seconds} * 1000000 + {_micro(name)}"
        )
        return f"coalesce({number}, json_quote({name}))"
    return f"json_quote({canonical(column)})"


def _micro(name: str) -> str:
    """Return the microseconds of a time's fraction."""
    fraction = f"substr(substr({name}, instr({name}, '.') + 1) || '00000', 1, 6)"
    return f"iif(instr({name}, '.'), CAST({fraction} AS INTEGER), 0)"


def _json_fast(column: Column) -> Cases:
    name, kind = quote(column.name), column.kind
    if kind is Kind.BOOLEAN:
        return [(f"{name} = 1", "'true'"), (f"{name} = 0", "'false'")]
    if kind is Kind.FLOAT:
        return [(f"typeof({name}) = 'real' AND abs({name}) < 9e999", f"{_FLOAT}({name})")]
    if kind is Kind.JSON:
        # A number alone is kept as one, of which json() writes fifteen digits.
        number = f"typeof({name}) = 'real' AND abs({name}) < 9e999"
        return [(number, f"{_FLOAT}({name})"), (f"json_valid({name})", f"json({name})")]
    if kind in (Kind.TIMESTAMP, Kind.INSTANT):
        zone = "+00:00" if kind is Kind.INSTANT else ""
        return [
            (condition, f"'\"' || replace({text}, ' ', 'T') || '{zone}\"'")
            for condition, text in _moment(name, kind)
        ]
    fast = _fast(column)
    if kind in (*_MOMENTS, Kind.UUID):
        return [(condition, f"'\"' || {text} || '\"'") for condition, text in fast]
    return fast


def _literal(column: Column) -> str:
    """Return the SQL literal of a value; quote() keeps every bit, but has no literal for infinity.

    One that is too large for a number is read as infinity.
    """
    name = quote(column.name)
    if column.kind is Kind.TEXT:
        return f"quote({name})"
    infinite = f"typeof({name}) = 'real' AND abs({name}) = 9e999"
    return f"CASE WHEN {infinite} THEN iif({name} > 0, '9e999', '-9e999') ELSE quote({name}) END"


def _masked(column: Column) -> str:
    if column.mask is None:
        return "NULL"
    return f"CASE WHEN {quote(column.name)} IS NOT NULL THEN '{MASK}' END"


def _float_text(value: object) -> object:
    return float_text(value) if isinstance(value, float) else value


def _sql_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _json_name(name: str) -> str:
    import json

    return json.dumps(name, ensure_ascii=False)
