"""`data import` of Parquet files: types of Arrow that PostgreSQL and SQLite do not have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from oneoff.services.data.imports.readers import parquet_reader
from oneoff.services.data.imports.source import Source
from oneoff.testing import Finished, Manage
from tests.support.database import query
from tests.support.imports import execute

ON_POSTGRESQL = pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)


async def load(manage: Manage, folder: Path, columns: dict[str, Any], *words: str) -> Finished:
    """Write a Parquet file with these columns, and import it into the table `loaded`."""
    path = folder / "loaded.parquet"
    parquet.write_table(pa.table(columns), path)
    return await manage(["data", "import", "loaded", str(path), "--confirm", *words])


@ON_POSTGRESQL
async def test_lists_are_imported_into_arrays(manage: Manage, tmp_path: Path) -> None:
    """Also lists of lists, NULL in a list, and objects for an array of JSON."""
    await execute(manage, "CREATE TABLE loaded (a int[], b text[], c jsonb[])")

    done = await load(
        manage,
        tmp_path,
        {
            "a": pa.array([[1, None], [], None]),
            "b": pa.array([[["a,", '"']], None, [["", "NULL"]]]),
            "c": pa.array([[{"n": 1}], None, None]),
        },
    )

    assert (0, 3) == (done.exit_code, done.rows), done.stderr
    assert [
        ("{1,NULL}", '{{"a,","\\""}}', '{"{\\"n\\": 1}"}'),
        ("{}", None, None),
        (None, '{{"","NULL"}}', None),
    ] == query(manage.environ["DATABASE_URL"], "SELECT a::text, b::text, c::text FROM loaded")


async def test_lists_and_objects_are_imported_into_json(manage: Manage, tmp_path: Path) -> None:
    """With NULL as JSON's null inside, and as NULL outside."""
    await execute(manage, "CREATE TABLE loaded (a json, b json)")

    done = await load(
        manage,
        tmp_path,
        {"a": pa.array([[1, None], None]), "b": pa.array([{"n": [True]}, None])},
    )

    assert (0, 2) == (done.exit_code, done.rows), done.stderr
    found = query(manage.environ["DATABASE_URL"], "SELECT a, b FROM loaded")
    assert [([1, None], {"n": [True]}), (None, None)] == [
        tuple(value and json.loads(value) for value in row) for row in found
    ]


async def test_bytes_of_a_fixed_length_are_imported_as_bytes(
    manage: Manage, tmp_path: Path
) -> None:
    """Not as Python's representation of them."""
    on_postgres = "postgres" in manage.environ["DATABASE_URL"]
    await execute(manage, f"CREATE TABLE loaded (a {'bytea' if on_postgres else 'blob'})")

    done = await load(manage, tmp_path, {"a": pa.array([b"\x00\xff"], pa.binary(2))})

    assert 0 == done.exit_code, done.stderr
    found = query(manage.environ["DATABASE_URL"], "SELECT a FROM loaded")
    assert [(b"\x00\xff",)] == found


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (
            pa.ExtensionArray.from_storage(pa.opaque(pa.binary(), "a", "b"), pa.array([b"x"])),
            "has the type extension<arrow.opaque",
        ),
        (
            pa.array([1], pa.int64()).view(pa.timestamp("ns")),
            "contains a time with more digits than microseconds",
        ),
    ],
)
async def test_a_column_that_cannot_be_imported_exactly_is_refused(
    manage: Manage, tmp_path: Path, values: Any, what: str
) -> None:
    """Its name is in the error. Without the column the file can be imported."""
    await execute(manage, "CREATE TABLE loaded (a int, b varchar(40))")
    columns = {"a": pa.array([1]), "b": values}

    refused = await load(manage, tmp_path, columns)
    done = await load(manage, tmp_path, columns, "--columns", "a")

    assert (65, 0) == (refused.exit_code, done.exit_code), done.stderr
    assert f"can't be read exactly: column b {what}" in refused.stderr
    assert [(1, None)] == query(manage.environ["DATABASE_URL"], "SELECT a, b FROM loaded")


@ON_POSTGRESQL
async def test_the_end_of_the_day_is_imported_as_24_00(manage: Manage, tmp_path: Path) -> None:
    """Python's type for times would make it 00:00."""
    await execute(manage, "CREATE TABLE loaded (a time); INSERT INTO loaded VALUES ('24:00:00')")
    path = tmp_path / "times.parquet"

    exported = await manage(f"data export loaded -o {path}")
    done = await manage(f"data import loaded {path} --confirm")

    assert (0, 0) == (exported.exit_code, done.exit_code), done.stderr
    url = manage.environ["DATABASE_URL"]
    assert [("24:00:00",)] * 2 == query(url, "SELECT a::text FROM loaded")


@pytest.mark.parametrize(
    "values",
    [
        pa.array([9_224_318_016_000], pa.int64()).view(pa.timestamp("s")),
        pa.array([2**31 - 2], pa.int32()).view(pa.date32()),
        pa.array(["a\0b"]),
    ],
)
@ON_POSTGRESQL
async def test_a_value_that_the_database_cannot_store_is_named(
    manage: Manage, tmp_path: Path, values: Any
) -> None:
    """With its row and column, not as a bug."""
    kind = "text" if pa.types.is_string(values.type) else "timestamp"
    await execute(manage, f"CREATE TABLE loaded (a {kind})")

    done = await load(manage, tmp_path, {"a": values})

    assert 65 == done.exit_code, done.stderr
    assert "error[bad-rows]: " in done.stderr
    assert "line 1, column a" in done.stderr


@pytest.mark.parametrize("kind", [pa.string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())])
def test_a_long_value_that_a_small_file_repeats_does_not_fill_memory(
    tmp_path: Path, kind: Any
) -> None:
    """The file stores it once; no more rows are decoded together than memory may hold."""
    long = pa.array(["x" * 200_000] * 400).dictionary_encode()
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"id": range(400), "a": long.cast(kind)}), path)

    with path.open("rb") as file:
        reader = parquet_reader.ParquetReader(Source(str(path), file))
        chunks = [(len(chunk.raw_rows), sum(map(len, chunk.raw_rows))) for chunk in reader.chunks()]

    assert path.stat().st_size < 1 << 20
    assert 400 == sum(rows for rows, _ in chunks)
    assert max(size for _, size in chunks) < 3 * parquet_reader.LONGEST


async def test_repeated_values_are_imported_in_parts(
    manage: Manage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every type that a file may store once, in the order of the rows."""
    monkeypatch.setattr(parquet_reader, "LONGEST", 8)
    await execute(manage, "CREATE TABLE loaded (a text, b text, c int)")
    texts = ["one", None, "three", "one", "four"]

    done = await load(
        manage,
        tmp_path,
        {
            "a": pa.array(texts),
            "b": pa.array(texts).dictionary_encode(),
            "c": pa.array([1, 2, None, 1, 5]).dictionary_encode(),
        },
    )

    assert (0, 5) == (done.exit_code, done.rows), done.stderr
    found = query(manage.environ["DATABASE_URL"], "SELECT a, b, c FROM loaded")
    assert list(zip(texts, texts, [1, 2, None, 1, 5], strict=True)) == found
