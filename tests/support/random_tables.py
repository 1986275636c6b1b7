"""Tables with random names, types, keys and rows, for properties of `data export` and `import`."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, NamedTuple

from hypothesis import strategies as st

Literals = st.SearchStrategy[str]
"""SQL literals of one type."""


class Table(NamedTuple):
    """A random table.

    Attributes:
        name: The name for `data export`.
        quoted: Its name in SQL.
        has_key: Whether it has a primary key.
        is_odd: Whether it has values of other types than its columns, as only SQLite allows.
        create: Creates its types, its indexes and itself, and inserts its rows.
    """

    name: str
    quoted: str
    has_key: bool
    is_odd: bool
    create: str


def quote(name: str) -> str:
    """Quote an identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text."""
    return "'" + text.replace("'", "''") + "'"


def _texts(values: st.SearchStrategy[Any]) -> Literals:
    return values.map(str).map(literal)


def _array(items: st.SearchStrategy[Any]) -> Literals:
    # JSON's quotes are those of PostgreSQL's arrays.
    elements = st.none() | items.map(str)
    return st.lists(elements, max_size=3).map(
        lambda row: literal(
            "{" + ",".join("NULL" if one is None else _quoted(one) for one in row) + "}"
        )
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


PLAIN = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
WORDS = st.text(PLAIN, max_size=8) | st.sampled_from(
    [
        "",
        "\\.",
        '"',
        "\r\n",
        "\n",
        "NULL",
        "=1",
        "***",
        " ",
        ",",
        "\\N",
        "\ufeff",
        "'",
        "{}",
        "\x01\x02",
    ]
)
NAMES = st.text(PLAIN, min_size=1, max_size=8) | st.sampled_from(
    ["id", "select", "Order", "a b", 'q"', "t", "row", "n.m", "ü", "number", "c0", "j"]
)
TABLE_NAMES = ["plain", "Mixed", "two words", 'q"uote', "select", "ünï", "r"]
NUMBERS = st.decimals(-(10**8), 10**8, places=3)
WHOLE = st.integers(-(2**63), 2**63 - 1)
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(PLAIN, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(PLAIN, max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)
JSON = st.tuples(DOCUMENTS, st.sampled_from([None, 1])).map(
    lambda two: json.dumps(two[0], indent=two[1], ensure_ascii=False)
)
FLOATS = st.floats(allow_nan=False) | st.sampled_from([0.1, 1e15, -0.0, 5e-324])
INFINITE = st.sampled_from(["infinity", "-infinity"])

POSTGRESQL_TYPES: dict[str, Literals] = {
    "smallint": _texts(st.integers(-(2**15), 2**15 - 1)),
    "integer": _texts(st.integers(-(2**31), 2**31 - 1)),
    "bigint": _texts(WHOLE),
    "numeric(12,3)": _texts(NUMBERS),
    "numeric": _texts(st.decimals(allow_nan=False, allow_infinity=False)),
    "own.price": _texts(st.decimals(-(10**7), 10**7, places=2)),
    "real": _texts(st.floats(width=32, allow_nan=False)),
    "double precision": _texts(FLOATS) | st.just("'NaN'"),
    "text": _texts(WORDS),
    "varchar(20)": _texts(WORDS),
    "char(20)": _texts(WORDS),
    "boolean": st.sampled_from(["true", "false"]),
    "bytea": st.binary(max_size=6).map(lambda value: f"'\\x{value.hex()}'"),
    "date": _texts(st.dates()) | _texts(INFINITE) | st.just("'4713-01-01 BC'"),
    "time": _texts(st.times()) | st.just("'24:00:00'"),
    "timetz": st.times().map(lambda value: f"'{value}+05:30'"),
    "timestamp": _texts(MOMENTS) | _texts(INFINITE),
    "timestamptz": MOMENTS.map(lambda value: f"'{value}+00'") | _texts(INFINITE),
    "interval": _texts(st.timedeltas()).map(lambda text: text.replace("day,", "day")),
    "json": _texts(JSON),
    "jsonb": _texts(JSON.filter(lambda text: text != "null")),
    "own.signed_note": _texts(JSON),
    "uuid": _texts(st.uuids()),
    "own.mood": st.sampled_from(["'ok'", "'so, so'", "'\"'"]),
    "own.mood[]": st.sampled_from(["'{}'", "'{ok,NULL,\"so, so\"}'"]),
    "text[]": _array(WORDS),
    "integer[]": _array(st.integers(-9, 9)) | st.just("'{{1,2},{3,4}}'"),
    "json[]": _array(JSON),
    "jsonb[]": _array(JSON),
    "own.pair": st.tuples(st.integers(0, 9), JSON).map(
        lambda two: f"ROW({two[0]}, {literal(two[1])})::own.pair"
    ),
    "own.pair[]": st.just("ARRAY[ROW(NULL, NULL)::own.pair]") | st.just("'{}'"),
    "inet": _texts(st.ip_addresses()),
    "int4range": st.sampled_from(["'empty'", "'[1,5)'", "'(,)'"]),
    "bit(4)": st.sampled_from(["B'0101'", "B'0000'"]),
    "point": st.just("'(1.5,-2)'"),
    "tsvector": st.just("'a:1 b:2'"),
    "xml": st.just("'<a>\n&amp;</a>'"),
}
POSTGRESQL_SETUP = """
DROP SCHEMA IF EXISTS own CASCADE;
CREATE SCHEMA own;
CREATE DOMAIN own.price AS numeric(10, 2);
CREATE DOMAIN own.note AS json;
CREATE DOMAIN own.signed_note AS own.note;
CREATE TYPE own.mood AS ENUM ('ok', 'so, so', '"');
CREATE TYPE own.pair AS (n int, what json);
"""
POSTGRESQL_KEYS = (
    "int PRIMARY KEY",
    "int GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    "bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
    "serial PRIMARY KEY",
    "int NOT NULL",
)

ZERO = "'a' || char(0) || 'b'"
SQLITE_TYPES: dict[str, Literals] = {
    "integer": WHOLE.map(str),
    "bigint": WHOLE.map(str),
    "numeric(10, 2)": st.decimals(-(10**7), 10**7, places=2).map(str),
    "numeric": FLOATS.map(repr).filter(lambda text: "inf" not in text),
    "double": FLOATS.map(repr).filter(lambda text: "inf" not in text) | st.just("9e999"),
    "text": _texts(WORDS) | st.just(ZERO),
    "varchar(20)": _texts(WORDS),
    "boolean": st.sampled_from(["0", "1"]),
    "blob": st.binary(max_size=6).map(lambda value: f"x'{value.hex()}'"),
    "date": _texts(st.dates()),
    "time": st.times().map(lambda value: literal(value.isoformat("microseconds"))),
    "datetime": MOMENTS.map(lambda value: literal(value.isoformat(" ", "microseconds"))),
    "json": _texts(JSON),
    "": _texts(WORDS),
    "money": NUMBERS.map(str) | _texts(WORDS),
}
SQLITE_ODD = st.sampled_from(["7", "1.5", "'odd \"'", "x'00ff'", "9e999", ZERO])
"""Values that SQLite accepts in a column of any type."""
SQLITE_SETUP = "\n".join(f"DROP TABLE IF EXISTS {quote(name)};" for name in TABLE_NAMES)
SQLITE_KEYS = ("integer PRIMARY KEY", "int PRIMARY KEY", "varchar(9) PRIMARY KEY", "int NOT NULL")


@st.composite
def tables(draw: st.DrawFn, *, postgresql: bool) -> Table:
    """Draw a table."""
    types = POSTGRESQL_TYPES if postgresql else SQLITE_TYPES
    key = draw(st.sampled_from(POSTGRESQL_KEYS if postgresql else SQLITE_KEYS))
    names = draw(st.lists(NAMES, min_size=2, max_size=6, unique_by=str.casefold))
    kinds = draw(
        st.lists(st.sampled_from(sorted(types)), min_size=len(names) - 1, max_size=len(names) - 1)
    )
    table = draw(st.sampled_from(TABLE_NAMES))
    name, quoted = (f"own.{table}", f"own.{quote(table)}") if postgresql else (table, quote(table))
    is_odd = not postgresql and draw(st.integers(0, 2)) == 0
    columns = [f"{quote(names[0])} {key}"]
    cells: list[Literals] = []
    extra: list[str] = []
    for at, (column, kind) in enumerate(zip(names[1:], kinds, strict=True)):
        values = SQLITE_ODD if is_odd and draw(st.booleans()) else types[kind]
        required = draw(st.booleans())
        default = f" DEFAULT ({draw(values)})" if draw(st.booleans()) else ""
        check = f" CHECK ({quote(column)} IS NOT NULL OR 1 = 1)" if draw(st.booleans()) else ""
        columns.append(f"{quote(column)} {kind}{' NOT NULL' if required else ''}{default}{check}")
        cells.append(values if required else st.just("NULL") | values)
        if draw(st.integers(0, 3)) == 0:
            where = draw(st.sampled_from(["", f" WHERE {quote(column)} IS NOT NULL"]))
            extra.append(f"CREATE UNIQUE INDEX own_{at} ON {quoted} ({quote(names[0])}){where};")
    generated = "both of them" if draw(st.booleans()) else ""
    if generated and generated.casefold() not in map(str.casefold, names):
        columns.append(f"{quote(generated)} int GENERATED ALWAYS AS (length('x')) STORED")
    overriding = " OVERRIDING SYSTEM VALUE" if postgresql else ""
    rows = draw(st.lists(st.tuples(*cells), min_size=1, max_size=6))
    lines = ", ".join(f"({', '.join([str(at), *row])})" for at, row in enumerate(rows, 1))
    statements = (
        POSTGRESQL_SETUP if postgresql else SQLITE_SETUP,
        f"CREATE TABLE {quoted} ({', '.join(columns)});",
        *extra,
        f"INSERT INTO {quoted} ({', '.join(map(quote, names))}){overriding} VALUES {lines};",
    )
    return Table(name, quoted, "PRIMARY" in key, is_odd, create="\n".join(statements))
