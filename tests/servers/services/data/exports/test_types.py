"""`data export`: other programs read values of every type correctly, in each format."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import duckdb
import pytest

from oneoff.services.data.driver import SESSION_SETTINGS
from oneoff.testing import Manage
from tests.support import kinds
from tests.support.database import open_sqlite, query
from tests.support.imports import bytes_of, execute
from tests.support.servers import Postgres

on_postgres = pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)
on_sqlite = pytest.mark.parametrize("manage_environ", ["sqlite"], indirect=True)

COPY_AS_IT_IS = r"(FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')"
DIFFERENT = """
SELECT count(*) FROM kinds a FULL JOIN loaded b USING (id) WHERE a::text IS DISTINCT FROM b::text
"""
TEXTS = {
    "a_bool": "left(a_bool::text, 1)",
    "a_char": "rpad(a_char::text, 4)",
    "an_address": "abbrev(an_address)",
}
"""SQL for types that COPY writes differently from a cast to text."""


class Loading:
    """The table `kinds` on PostgreSQL, an empty table `loaded` like it, and psql."""

    def __init__(self, manage: Manage, server: Postgres) -> None:
        self.manage, self._server = manage, server
        self._database = manage.environ["DATABASE_URL"].rpartition("/")[2]
        self.psql(kinds.POSTGRESQL)
        self.psql("CREATE TABLE loaded (LIKE kinds INCLUDING ALL)")
        self.columns = self.psql(
            "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute "
            "WHERE attrelid = 'kinds'::regclass AND attnum > 0 AND attgenerated = ''"
        )

    def psql(self, sql: str) -> str:
        """Run statements."""
        return self._server.psql(sql, self._database)

    async def export(self, table: str, path: Path, *options: str) -> bytes:
        """Export a table and return the file's bytes."""
        words = ["data", "export", table, "-o", str(path), "--overwrite", *options]
        done = await self.manage(words)
        assert 0 == done.exit_code, done.stderr
        return bytes_of(path)


def rows_of(query: str) -> list[Any]:
    """Return the rows of a query in DuckDB."""
    with duckdb.connect() as connection:
        return connection.execute(query).fetchall()


@pytest.fixture
def loading(manage: Manage, postgres_server: Postgres) -> Loading:
    """Create both tables."""
    return Loading(manage, postgres_server)


@on_postgres
async def test_copy_loads_a_csv_file_without_changes(loading: Loading, tmp_path: Path) -> None:
    """Every value of every type is the same."""
    path = tmp_path / "kinds.csv"
    before = await loading.export("kinds", path, "--columns", loading.columns)

    loading.psql(f"\\copy loaded ({loading.columns}) FROM '{path}' (FORMAT csv, HEADER match)")

    assert "0" == loading.psql(DIFFERENT)
    assert before == await loading.export("loaded", path, "--columns", loading.columns)


@on_postgres
async def test_psql_loads_an_sql_file_without_changes(loading: Loading, tmp_path: Path) -> None:
    """Generated columns are left out, identity columns are kept."""
    path = tmp_path / "kinds.sql"
    before = await loading.export("kinds", path)

    loading.psql(before.decode().replace('INTO "kinds"', 'INTO "loaded"'))

    assert "0" == loading.psql(DIFFERENT)
    after = await loading.export("loaded", path)
    assert before == after.replace(b'INTO "loaded"', b'INTO "kinds"').replace(
        b"-- loaded", b"-- kinds"
    )


@on_postgres
@pytest.mark.parametrize("kind", ["jsonl", "json"])
async def test_postgresql_loads_json_without_changes(
    loading: Loading, tmp_path: Path, kind: str
) -> None:
    """Except what JSON can't express: a JSON null beside NULL, and the lower bound of an array."""
    path = tmp_path / f"kinds.{kind}"
    before = await loading.export("kinds", path)
    lines = before.decode().split("\n")
    objects = [line.removesuffix(",") for line in lines if line.startswith("{")]
    (tmp_path / "lines").write_text("\n".join(objects) + "\n")

    loading.psql(
        "CREATE TEMP TABLE lines (line text);\n"
        f"\\copy lines FROM '{tmp_path}/lines' {COPY_AS_IT_IS}\n"
        f"INSERT INTO loaded ({loading.columns}) OVERRIDING SYSTEM VALUE "
        f"SELECT {loading.columns} FROM lines, "
        "LATERAL json_populate_record(NULL::loaded, line::json)"
    )

    assert 5 == len(objects) == len([json.loads(line) for line in objects])
    assert before == await loading.export("loaded", path)


@on_postgres
async def test_duckdb_reads_csv_and_json_files(loading: Loading, tmp_path: Path) -> None:
    """For every type NULL differs from the empty text, and line ends stay inside their value."""
    path, lines = tmp_path / "kinds.csv", tmp_path / "kinds.jsonl"
    await loading.export("kinds", path)
    written = await loading.export("kinds", lines)
    names = [*loading.columns.split(","), "doubled"]
    texts = ", ".join(TEXTS.get(name, f"{name}::text") for name in names)
    settings = "; ".join(f"SET {name} = '{value}'" for name, value in SESSION_SETTINGS.items())
    answer = loading.psql(
        f"{settings}; SELECT json_agg(json_build_array({texts}) ORDER BY id) FROM kinds"
    )
    members = ", ".join(f"'{name}': 'JSON'" for name in names)

    as_csv = rows_of(
        f"SELECT * FROM read_csv('{path}', header=true, all_varchar=true, "
        "quote='\"', escape='\"', allow_quoted_nulls=false, new_line='\\n')"
    )
    as_json = rows_of(
        f"SELECT * FROM read_json('{lines}', format='newline_delimited', columns={{{members}}})"
    )

    assert 25 == len(names)
    assert [tuple(row) for row in json.loads(answer)] == as_csv
    assert [tuple(json.loads(line).values()) for line in written.decode().splitlines()] == [
        tuple(None if cell is None else json.loads(cell) for cell in row) for row in as_json
    ]


@on_postgres
async def test_duckdb_reads_a_parquet_file(loading: Loading, tmp_path: Path) -> None:
    """Columns have Parquet's types where they exist, and PostgreSQL's texts otherwise."""
    path = tmp_path / "kinds.parquet"
    await loading.export("kinds", path)

    types = rows_of(f"SELECT column_type FROM (DESCRIBE SELECT * FROM '{path}')")
    first, second = rows_of(
        "SELECT a_bool, a_big, a_float::text, a_number::text, any_number, a_text, some_bytes, "
        "a_date::text, a_time::text, a_timestamp::text, epoch_us(an_instant), a_while, an_id, "
        f"some_numbers, doubled FROM '{path}' WHERE id < 3 ORDER BY id"
    )
    nulls = rows_of(f"SELECT a_bool, a_text, some_bytes, a_while FROM '{path}' WHERE id = 3")

    assert [
        *("INTEGER", "BOOLEAN", "SMALLINT", "BIGINT", "DOUBLE", "DOUBLE", "DECIMAL(12,3)"),
        *("VARCHAR", "VARCHAR", "VARCHAR", "BLOB", "DATE", "TIME", "TIMESTAMP"),
        *("TIMESTAMP WITH TIME ZONE", *["VARCHAR"] * 9, "BIGINT"),
    ] == [kind for (kind,) in types]
    assert (
        *(True, 9223372036854775807, "0.1", "1.500", "12345678901234567890.123456789", "plain"),
        *(b"\x00\xff\x01", "2026-01-31", "23:59:59.999999", "2026-01-31 09:30:00.5"),
        *(1769833800000000, "1 year 2 mons -3 days +04:05:06.7"),
        *("6f1de1d2-0ddc-4f9d-8f5e-0f6c3a1f0c11", "{{1,2},{3,4}}", -2),
    ) == first
    assert ("nan", "-0.001", "NaN", b"", "infinity", "-infinity") == (
        *second[2:5],
        second[6],
        second[7],
        second[9],
    )
    assert [(None, "", None, None)] == nulls


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "sql", "parquet"])
async def test_a_column_may_have_any_name(manage: Manage, tmp_path: Path, kind: str) -> None:
    """Also the name of the table, and names that the statement itself uses."""
    path = tmp_path / f"t.{kind}"
    await execute(
        manage,
        "CREATE TABLE t (id integer PRIMARY KEY, t varchar(9), rows varchar(9));"
        "INSERT INTO t (id, t, rows) VALUES (1, 'one', 'two')",
    )

    done = await manage(f"data export t -o {path}")

    assert 0 == done.exit_code, done.stderr
    if kind == "parquet":
        assert [(1, "one", "two")] == rows_of(f"SELECT id, t, rows FROM '{path}'")
    else:
        assert EXPECTED_OF_T[kind] in bytes_of(path).decode()


EXPECTED_OF_T = {
    "csv": "id,t,rows\n1,one,two\n",
    "jsonl": '{"id":1,"t":"one","rows":"two"}\n',
    "json": '{"id":1,"t":"one","rows":"two"}\n]',
    "sql": "VALUES\n(1,'one','two')\n;",
}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
async def test_rows_are_ordered_by_the_key_and_not_by_its_text(
    manage: Manage, tmp_path: Path, kind: str
) -> None:
    """In a Parquet file a number without precision is a text, but 10 still follows 9."""
    path = tmp_path / f"amounts.{kind}"
    await execute(
        manage,
        "CREATE TABLE amounts (amount numeric PRIMARY KEY);"
        "INSERT INTO amounts VALUES (10), (9), (100)",
    )

    done = await manage(f"data export amounts -o {path}")

    assert 0 == done.exit_code, done.stderr
    read = f"SELECT amount FROM '{path}'" if kind == "parquet" else ""
    text = str(rows_of(read)) if read else bytes_of(path).decode()
    assert ["9", "10", "100"] == re.findall(r"\b(9|10|100)\b", text)


@on_sqlite
async def test_a_parquet_file_from_sqlite_has_types_too(manage: Manage, tmp_path: Path) -> None:
    """The columns' types. A value of another type is an error, and no file remains."""
    path = tmp_path / "kinds.parquet"
    await execute(manage, kinds.SQLITE)

    refused = await manage(f"data export kinds -o {path}")
    left = path.exists()
    done = await manage(f"data export kinds -o {path} --where id<4")

    assert (65, False) == (refused.exit_code, left)
    assert "error[not-for-parquet]: a column contains a value that is not" in refused.stderr
    assert 0 == done.exit_code, done.stderr
    first = (
        *(1, True, 4611686018427387903, 0.1, "1.500", "plain", b"\x00\xff\x01", "2026-01-31"),
        *("23:59:59.999999", "2026-01-31 09:30:00.5", '{"a": [1, 2.5]}', 9223372036854775806),
    )
    columns = (
        "id, a_bool, a_big, a_float, a_number::text, a_text, some_bytes, a_date::text, "
        "a_time::text, a_timestamp::text, a_json, doubled"
    )
    assert [first] == rows_of(f"SELECT {columns} FROM '{path}' WHERE id = 1")


@on_sqlite
async def test_sqlite_loads_an_sql_file_without_changes(manage: Manage, tmp_path: Path) -> None:
    """Every value of every storage class is the same."""
    url, rows = manage.environ["DATABASE_URL"], "SELECT *, typeof(a_big) FROM kinds"
    path = tmp_path / "kinds.sql"
    await execute(manage, kinds.SQLITE)

    done = await manage(["data", "export", "kinds", "-o", str(path)])

    assert 0 == done.exit_code, done.stderr
    before = query(url, rows)
    await execute(manage, "DELETE FROM kinds")
    await execute(manage, path.read_bytes().decode())
    assert before == query(url, rows)


@on_sqlite
async def test_values_from_sqlite_are_written_as_postgresql_writes_them(manage: Manage) -> None:
    """The column's type applies even if SQLite has no such type. Other values stay unchanged."""
    await execute(manage, kinds.SQLITE)

    as_csv = await manage("data export kinds --where id<4")
    as_json = await manage("data export kinds --format jsonl --where 'a_text~plain'")
    odd = await manage("data export kinds --where id=4 --columns id,a_bool,a_big,a_float,a_number")

    assert (
        "id,a_bool,a_big,a_float,a_number,a_text,some_bytes,a_date,a_time,a_timestamp,a_json,doubled\n"
        "1,t,4611686018427387903,0.1,1.500,plain,\\x00ff01,2026-01-31,23:59:59.999999,"
        '2026-01-31 09:30:00.5,"{""a"": [1, 2.5]}",9223372036854775806\n'
        '2,f,-1,Infinity,-0.001,"line\nend\r""quoted"", comma",\\x,2026-01-31,00:00:00,'
        "2026-01-31 09:30:00,null,-2\n"
        '3,,,1e+15,,"",,,,,,\n'
    ) == as_csv.stdout
    assert (
        '{"id":1,"a_bool":true,"a_big":4611686018427387903,"a_float":0.1,"a_number":1.500,'
        '"a_text":"plain","some_bytes":"\\\\x00ff01","a_date":"2026-01-31",'
        '"a_time":"23:59:59.999999","a_timestamp":"2026-01-31T09:30:00.5",'
        '"a_json":{"a":[1,2.5]},"doubled":9223372036854775806}\n'
    ) == as_json.stdout
    assert '4,,"no number, ""really""",nor this,x' == odd.stdout.splitlines()[1]


@on_sqlite
async def test_a_json_value_that_is_a_number_keeps_its_digits(manage: Manage) -> None:
    """SQLite stores it as a number, and its JSON functions would write only fifteen digits."""
    await execute(
        manage,
        "CREATE TABLE some (id integer PRIMARY KEY, what json);"
        "INSERT INTO some (what) VALUES ('12345678901234567890.5'), ('0.1'), ('7'), ('[1.10]'),"
        " (9e999)",
    )

    as_json = await manage("data export some --format jsonl --columns what")
    as_csv = await manage("data export some --columns what")

    texts = ["1.2345678901234567e+19", "0.1", "7", "[1.10]"]
    assert [*(f'{{"what":{text}}}' for text in texts), '{"what":"Infinity"}'] == (
        as_json.stdout.splitlines()
    )
    assert ["what", *texts, "Infinity"] == as_csv.stdout.splitlines()


@on_sqlite
async def test_a_column_may_have_a_collation_that_only_the_application_defines(
    manage: Manage,
) -> None:
    """Texts are compared as bytes. Values of such a column that are no texts are written too."""
    with open_sqlite(manage.environ["DATABASE_URL"]) as connection:
        connection.create_collation("own", lambda one, other: (one > other) - (one < other))
        connection.executescript("""
            CREATE TABLE odd (id integer PRIMARY KEY, what varchar(9) COLLATE own);
            INSERT INTO odd (what) VALUES ('x'), (''), (NULL), (x''), (x'00'), (7)
        """)

    done = await manage("data export odd --columns what,id")

    assert 'what,id\nx,1\n"",2\n,3\n\\x,4\n\\x00,5\n7,6\n' == done.stdout, done.stderr
