"""Text formats, formats of file names, kinds of types, texts of numbers, and csv lines."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneoff.services.data.columns import (
    Column,
    Kind,
    float_text,
    kind_of_postgresql,
    kind_of_sqlite,
)
from oneoff.services.data.csv_writer import EMPTY, csv_lines
from oneoff.services.data.exports.query import Query
from oneoff.services.data.exports.text_formats import JsonArray, SqlStatements
from oneoff.services.data.files import format_of, suffix_of
from oneoff.services.data.tables import Table

TABLE = Table(
    name="t",
    quoted='"t"',
    columns=(Column("a", Kind.TEXT, "text"),),
    key=(),
    declared=True,
    dialect="postgresql",
    identity="public.t",
)
ROWS = st.lists(st.text(alphabet="a\x01\n,;", min_size=1), min_size=1, max_size=20)


def in_chunks(lines: list[bytes], sizes: list[int]) -> list[bytes]:
    """Join lines to chunks with these numbers of lines."""
    chunks, at = [], 0
    for size in sizes:
        chunks.append(b"".join(lines[at : at + size]))
        at += size
    return [chunk for chunk in [*chunks, b"".join(lines[at:])] if chunk]


def as_copy_quotes(row: str) -> bytes:
    """Return a row as COPY writes it in csv format with the quotes of `text_formats`."""
    if "\x01" in row or "\n" in row:
        row = "\x01" + row.replace("\x01", "\x01\x01") + "\x01"
    return row.encode() + b"\n"


@given(
    numbers=st.lists(st.integers(), max_size=20),
    sizes=st.lists(st.integers(min_value=1, max_value=5), max_size=5),
)
def test_a_json_array_is_valid_however_its_rows_are_split_into_chunks(
    numbers: list[int], sizes: list[int]
) -> None:
    """The number of commas is right."""
    array = JsonArray()
    lines = [json.dumps({"n": number}).encode() + b"\n" for number in numbers]

    file = array.header()
    for chunk in in_chunks(lines, sizes):
        file += array.rows(chunk)
    file += array.footer()

    assert [{"n": number} for number in numbers] == json.loads(file)
    assert max(len(numbers), 1) + (2 if numbers else 0) == file.count(b"\n")


@given(rows=ROWS, sizes=st.lists(st.integers(min_value=1, max_value=5), max_size=5))
def test_sql_rows_are_unchanged_except_for_copys_quotes(rows: list[str], sizes: list[int]) -> None:
    """Even if a row contains the quote character itself."""
    statements = SqlStatements(Query(TABLE, TABLE.columns))
    rows = [f",({row})" for row in rows]
    lines = [as_copy_quotes(row) for row in [";\nINSERT (", *rows]]

    fed = b"".join(statements.rows(chunk) for chunk in in_chunks(lines, sizes))

    assert "".join(f"{row}\n" for row in ["INSERT (", *rows]).encode() == fed


@pytest.mark.parametrize(
    ("path", "kind", "suffix"),
    [
        ("users.csv", "csv", "csv"),
        ("a.b/users.JSONL.gz", "jsonl", "jsonl"),
        ("users.parquet.zst", "parquet", "parquet"),
        ("users.xlsx", None, "xlsx"),
        ("a.csv/users", None, ""),
        (".hidden", None, ""),
        ("-", None, ""),
    ],
)
def test_the_suffix_of_a_name_gives_the_format(path: str, kind: str | None, suffix: str) -> None:
    """The suffix of a compression is ignored."""
    assert (kind, suffix) == (format_of(path), suffix_of(path))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.1, "0.1"),
        (1.0, "1"),
        (-0.0, "-0"),
        (999999999999999.0, "999999999999999"),
        (1e15, "1e+15"),
        (-1234567890123456.0, "-1.234567890123456e+15"),
        (1e16, "1e+16"),
        (1.5e300, "1.5e+300"),
        (0.0001, "0.0001"),
        (1e-05, "1e-05"),
        (5e-324, "5e-324"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
    ],
)
def test_numbers_are_written_as_postgresql_writes_them(value: float, expected: str) -> None:
    """As the shortest text, and with an exponent from 1e15 on."""
    assert expected == float_text(value)


@given(st.floats(allow_nan=False))
def test_the_text_of_a_number_is_read_back_as_the_same_number(value: float) -> None:
    """Every bit is the same."""
    assert value == float(float_text(value))


def test_the_name_of_a_type_determines_its_kind() -> None:
    """PostgreSQL's names from its catalog, and SQLite's names from CREATE TABLE."""
    assert Kind.INSTANT is kind_of_postgresql("timestamptz", "D")
    assert Kind.TEXT is kind_of_postgresql("citext", "S")
    assert Kind.OTHER is kind_of_postgresql("inet", "I")
    assert Kind.NUMERIC is kind_of_sqlite("NUMERIC(10, 2)")
    assert Kind.INTEGER is kind_of_sqlite("bigint")
    assert Kind.OTHER is kind_of_sqlite("")
    assert (10, 2) == (
        Column("n", Kind.NUMERIC, "numeric(10, 2)").precision,
        Column("n", Kind.NUMERIC, "numeric(10, 2)").scale,
    )


@given(
    st.integers(min_value=1, max_value=3).flatmap(
        lambda width: st.lists(
            st.lists(
                st.one_of(st.none(), st.text(alphabet='ab",\n\r\\.', max_size=3)),
                min_size=width,
                max_size=width,
            ),
            min_size=1,
        )
    )
)
def test_python_reads_csv_lines_back_as_the_same_cells(rows: list[list[str | None]]) -> None:
    """Whatever characters the cells contain."""
    cells = [
        [b"" if text is None else EMPTY if not text else text.encode() for text in row]
        for row in rows
    ]

    lines = csv_lines(cells)

    read = csv.reader(io.StringIO(lines.decode(), newline=""), lineterminator="\n")
    expected = [[text or "" for text in row] for row in rows]
    assert expected == [row or [""] for row in read]


def test_null_is_an_empty_cell_and_the_empty_text_is_quoted() -> None:
    r"""A cell with only \. is quoted too, because a reader would end there."""
    assert b'a,\n"",b\n' == csv_lines([[b"a", b""], [EMPTY, b"b"]])
    assert b'\n""\n"\\."\n' == csv_lines([[b""], [EMPTY], [b"\\."]])
    assert b'\\.,""\n' == csv_lines([[b"\\.", EMPTY]])
