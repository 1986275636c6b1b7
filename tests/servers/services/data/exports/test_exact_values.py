"""`data export`: values that are unusual for their column are written exactly, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyarrow import parquet

from oneoff.testing import Manage
from tests.support.database import open_sqlite, query
from tests.support.imports import bytes_of, execute
from tests.support.on_sqlite import ON_SQLITE

ON_POSTGRESQL = pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)

NUMBERS = """
CREATE TABLE numbers (id integer PRIMARY KEY, n numeric(10, 2), wide numeric(20, 4), any numeric);
INSERT INTO numbers (n, wide, any) VALUES
    (1.239, 9007199254740993, 1.5), (1.5, 0.12345678901234568, 9007199254740993),
    (-0.001, -9223372036854775807 - 1, 1e300), (7, 1e22, 'x'), (9e999, 0.1, 0.1);
"""


async def exported(manage: Manage, table: str, suffix: str, folder: Path) -> bytes:
    """Export a table and return the file's bytes."""
    path = folder / f"{table}.{suffix}"
    done = await manage(f"data export {table} -o {path}")
    assert 0 == done.exit_code, done.stderr
    return bytes_of(path)


@ON_SQLITE
async def test_a_decimal_is_written_with_all_of_its_digits(manage: Manage, tmp_path: Path) -> None:
    """Also one with more digits than the column declares, and an integer beyond 2**53."""
    await execute(manage, NUMBERS)

    as_csv = await exported(manage, "numbers", "csv", tmp_path)
    as_json = await exported(manage, "numbers", "jsonl", tmp_path)

    assert [
        "1,1.239,9007199254740993.0000,1.5",
        "2,1.50,0.12345678901234568,9007199254740993",
        "3,-0.001,-9223372036854775808.0000,1e+300",
        "4,7.00,10000000000000000000000.0000,x",
        "5,Infinity,0.1000,0.1",
    ] == as_csv.decode().splitlines()[1:]
    assert [
        '{"id":1,"n":1.239,"wide":9007199254740993.0000,"any":1.5}',
        '{"id":2,"n":1.50,"wide":0.12345678901234568,"any":9007199254740993}',
        '{"id":3,"n":-0.001,"wide":-9223372036854775808.0000,"any":1e+300}',
        '{"id":4,"n":7.00,"wide":10000000000000000000000.0000,"any":"x"}',
        '{"id":5,"n":"Infinity","wide":0.1000,"any":0.1}',
    ] == as_json.decode().splitlines()


@ON_SQLITE
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("numeric(10, 2)", "1.239"),
        ("numeric(10, 2)", "12345678901"),
        ("integer", "1.5"),
        ("boolean", "7"),
        ("date", "20260131"),
        ("date", "'now'"),
        ("date", "'2026-02-30'"),
        ("date", "'2026-01-31' || char(0) || 'x'"),
        ("date", "x'00'"),
        ("time", "'24:00:00'"),
        ("datetime", "'2026-01-31 09:30:00+02:00'"),
        ("datetime", "'2026-01-31 09:30:00.1234567'"),
        ("datetime", "'2026-01-31'"),
        ("blob", "'zz00ff'"),
        ("blob", "5"),
    ],
)
async def test_a_value_that_parquet_would_change_is_refused(
    manage: Manage, tmp_path: Path, kind: str, value: str
) -> None:
    """No file remains. Other formats write the value as it is."""
    path = tmp_path / "odd.parquet"
    await execute(
        manage,
        f"CREATE TABLE odd (id integer PRIMARY KEY, what {kind});"
        f"INSERT INTO odd (what) VALUES ({value})",
    )

    done = await manage(f"data export odd -o {path}")

    assert (65, False) == (done.exit_code, path.exists()), done.stderr
    assert "error[not-for-parquet]" in done.stderr


@ON_SQLITE
async def test_a_text_in_a_column_for_times_is_written_as_it_is(
    manage: Manage, tmp_path: Path
) -> None:
    """Even if it has the length and the signs of a time. In JSON it is escaped."""
    texts = ['"a\\b-cd-ef', "a b -cd-ef gh:ij:kl.mnop00", "0000-00-00"]
    await execute(manage, "CREATE TABLE odd (id integer PRIMARY KEY, day date, at timestamp)")
    with open_sqlite(manage.environ["DATABASE_URL"]) as connection:
        connection.executemany(
            "INSERT INTO odd (day, at) VALUES (?, ?)", zip(texts, texts, strict=True)
        )

    lines = await exported(manage, "odd", "jsonl", tmp_path)

    found = [json.loads(line) for line in lines.splitlines()]
    assert [(text, text) for text in texts] == [(row["day"], row["at"]) for row in found]


ZERO = """
CREATE TABLE odd (id integer PRIMARY KEY, what {kind});
INSERT INTO odd (what) VALUES ({start} || char(0) || 'b'), ('plain');
"""


@ON_SQLITE
async def test_a_text_with_a_zero_character_is_complete_in_sql_json_and_parquet(
    manage: Manage, tmp_path: Path
) -> None:
    """Importing the file stores the same text again."""
    await execute(manage, ZERO.format(kind="text", start="'a'"))

    files = {name: tmp_path / f"odd.{name}" for name in ("sql", "jsonl", "json", "parquet")}
    for path in files.values():
        assert 0 == (await manage(f"data export odd -o {path}")).exit_code
    read = []
    for name, path in files.items():
        await execute(manage, "DELETE FROM odd")
        if name == "sql":
            await execute(manage, path.read_text())
        else:
            done = await manage(f"data import odd {path} --confirm")
            assert 0 == done.exit_code, done.stderr
        read.append(query(manage.environ["DATABASE_URL"], "SELECT what FROM odd ORDER BY id"))

    assert [[("a\0b",), ("plain",)]] * 4 == read


@ON_SQLITE
@pytest.mark.parametrize(
    ("kind", "start", "suffix"),
    [
        ("text", "'a'", "csv"),
        ("text", "CAST(x'ff' AS TEXT)", "csv"),
        ("text", "CAST(x'ff' AS TEXT)", "jsonl"),
        ("date", "'2026-01-31'", "jsonl"),
        ("datetime", "'2026-01-31 09:30:00.500000'", "json"),
    ],
)
async def test_a_text_that_the_file_cannot_contain_is_refused(
    manage: Manage, tmp_path: Path, kind: str, start: str, suffix: str
) -> None:
    """A zero character, or bytes that are not UTF-8. No file remains."""
    path = tmp_path / f"odd.{suffix}"
    await execute(manage, ZERO.format(kind=kind, start=start))

    done = await manage(f"data export odd -o {path}")

    assert (65, False) == (done.exit_code, path.exists()), done.stderr
    assert "error[not-text]:" in done.stderr
    assert suffix != "csv" or "column what of odd contains a text with a zero" in done.stderr


@ON_SQLITE
async def test_a_text_of_the_single_byte_ff_is_refused_and_not_written_as_empty(
    manage: Manage, tmp_path: Path
) -> None:
    """Within the export, this byte marks an empty text."""
    await execute(
        manage,
        "CREATE TABLE odd (id integer PRIMARY KEY, what text);"
        "INSERT INTO odd (what) VALUES (CAST(x'ff' AS TEXT))",
    )

    done = await manage(f"data export odd -o {tmp_path}/odd.csv")

    assert (65, True) == (done.exit_code, "error[not-text]" in done.stderr), done.stderr


@ON_SQLITE
async def test_json_followed_by_a_zero_character_is_written_as_a_text(
    manage: Manage, tmp_path: Path
) -> None:
    """SQLite calls it valid JSON, and would drop what follows the zero character."""
    await execute(manage, ZERO.format(kind="json", start="""'{"a":1}'"""))

    lines = await exported(manage, "odd", "jsonl", tmp_path)

    assert '{"a":1}\0b' == json.loads(lines.splitlines()[0])["what"]


OWN_TYPES = r"""
CREATE EXTENSION hstore;
CREATE DOMAIN note AS json;
CREATE DOMAIN signed_note AS note;
CREATE TYPE mood AS ENUM ('ok', 'so, so');
CREATE FUNCTION mood_to_json(mood) RETURNS json LANGUAGE sql AS 'SELECT ''{"mood": 1}''::json';
CREATE CAST (mood AS json) WITH FUNCTION mood_to_json(mood);
CREATE TYPE pair AS (n int, what json);
CREATE DOMAIN price AS numeric(10, 2);
CREATE DOMAIN sale_price AS price CHECK (value > 0);
CREATE TABLE own (
    id int PRIMARY KEY, a_note note, notes json[], signed signed_note, signed_notes signed_note[],
    a_pair pair, pairs pair[], a_map hstore, maps hstore[], a_mood mood, moods mood[],
    a_price sale_price
);
INSERT INTO own VALUES
(1, E'{"a" :\n1}', ARRAY[E'[1,\r\n2]'::json], E'{"b":\n2}', ARRAY[E'\n3'::signed_note],
    ROW(1, E'{"c":\n3}'), ARRAY[ROW(2, E'\n4')::pair], 'a=>1, "b c"=>NULL', ARRAY['a=>1'::hstore],
    'so, so', '{ok,"so, so"}', 1.5),
(2, NULL, '{}', NULL, '{}', ROW(NULL, NULL), '{}', '', '{}', NULL, '{}', NULL),
(3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE saved AS SELECT * FROM own;
"""
SAME = "SELECT count(*) FROM own a JOIN saved b USING (id) WHERE flat(a::text) = flat(b::text)"
FLAT = """
CREATE FUNCTION flat(text) RETURNS text LANGUAGE sql AS
$$SELECT replace(translate($1, E'\\n\\r', '  '), '"', '')$$
"""


@ON_POSTGRESQL
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json", "parquet"])
async def test_types_of_the_project_and_of_extensions_are_read_back_as_the_same_values(
    manage: Manage, tmp_path: Path, suffix: str
) -> None:
    """Domains over domains, composite types, and types with a cast to json."""
    url, path = manage.environ["DATABASE_URL"], tmp_path / f"own.{suffix}"
    await execute(manage, OWN_TYPES)
    await execute(manage, FLAT)

    exported = await manage(f"data export own -o {path}")
    await execute(manage, "TRUNCATE own")
    done = await manage(f"data import own {path} --confirm")

    assert (0, 0, 3) == (exported.exit_code, done.exit_code, done.rows), done.stderr
    assert [(3,)] == query(url, SAME)
    if suffix == "jsonl":
        assert 3 == len([json.loads(line) for line in bytes_of(path).splitlines()])
    if suffix == "parquet":
        assert "decimal128(10, 2)" == str(parquet.read_schema(path).field("a_price").type)


@ON_POSTGRESQL
@pytest.mark.parametrize(
    ("value", "exit_code"),
    [
        ("294247-01-10 04:00:54.775806", 0),
        ("294247-01-10 04:00:54.775807", 65),
        ("294276-12-31 23:59:59.999999", 65),
        ("4713-01-01 00:00:00 BC", 0),
    ],
)
@pytest.mark.parametrize("zone", ["", " with time zone"])
async def test_a_timestamp_in_a_parquet_file_is_exact_or_refused(
    manage: Manage, tmp_path: Path, value: str, zone: str, exit_code: int
) -> None:
    """Timestamps that 64 bits can or can't hold."""
    url, path = manage.environ["DATABASE_URL"], tmp_path / "moments.parquet"
    await execute(
        manage,
        f"CREATE TABLE moments (id int, what timestamp{zone});"
        f"INSERT INTO moments VALUES (1, '{value}')",
    )

    exported = await manage(f"data export moments -o {path}")
    if exit_code:
        assert (65, False) == (exported.exit_code, path.exists()), exported.stderr
        assert "error[not-for-parquet]" in exported.stderr
        return
    await execute(manage, "DELETE FROM moments")
    done = await manage(f"data import moments {path} --confirm")

    assert (0, 0) == (exported.exit_code, done.exit_code), exported.stderr + done.stderr
    assert [(1,)] == query(url, f"SELECT count(*) FROM moments WHERE what = '{value}'")
