"""`data import` reads back exactly what `data export` wrote, in every format."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oneoff.testing import Manage
from tests.support import kinds
from tests.support.database import open_sqlite
from tests.support.imports import bytes_of, execute, on_postgres
from tests.support.servers import Postgres

FORMATS = ("csv", "jsonl", "json", "parquet", "csv.gz", "jsonl.zst")
DIFFERENT = """
SELECT count(*) FROM kinds a FULL JOIN saved b USING (id) WHERE a::text IS DISTINCT FROM b::text
"""
EXACT = """INSERT INTO kinds (a_json) VALUES ('{"n":1.10,"big":[12345678901234567890.50]}');"""
"""Numbers that would change if Python converted them."""
only_postgres = pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)


async def round_trip(manage: Manage, folder: Path, suffix: str) -> tuple[bytes, bytes]:
    """Export the table `kinds`, empty it, import the file, and export again; return both files."""
    first, second = folder / f"first.{suffix}", folder / f"second.{suffix}"
    for path in (first, second):
        done = await manage(f"data export kinds -o {path} --overwrite")
        assert 0 == done.exit_code, done.stderr
        if path is first:
            await execute(manage, "DELETE FROM kinds")
            done = await manage(f"data import kinds {path} --confirm")
            assert 0 == done.exit_code, done.stderr
    return bytes_of(first), bytes_of(second)


@pytest.fixture
async def kinds_table(manage: Manage, postgres_server: Postgres) -> None:
    """Create the table; on SQLite without the row whose values are not of the columns' types."""
    if on_postgres(manage):
        postgres_server.psql(kinds.POSTGRESQL, manage.environ["DATABASE_URL"].rpartition("/")[2])
    else:
        await execute(manage, kinds.SQLITE + "DELETE FROM kinds WHERE id = 4;" + EXACT)


@pytest.mark.usefixtures("kinds_table")
async def test_values_of_every_type_are_the_same_after_a_round_trip(
    manage: Manage, tmp_path: Path
) -> None:
    """In every format: NULL and empty texts, infinities, BC, identity and generated columns."""
    different = []
    for suffix in FORMATS:
        before, after = await round_trip(manage, tmp_path, suffix)
        if before != after:
            different.append(suffix)

    assert [] == different


@only_postgres
@pytest.mark.usefixtures("kinds_table")
async def test_an_import_with_rejects_imports_the_same_values(
    manage: Manage, tmp_path: Path, postgres_server: Postgres
) -> None:
    """Staging tables store every value as COPY does."""
    database = manage.environ["DATABASE_URL"].rpartition("/")[2]
    path = tmp_path / "kinds.csv"
    await manage(f"data export kinds -o {path}")
    postgres_server.psql("CREATE TABLE saved AS SELECT * FROM kinds; DELETE FROM kinds", database)

    done = await manage(f"data import kinds {path} --confirm --rejects {tmp_path}/bad.csv")

    assert (0, 5) == (done.exit_code, done.rows), done.stderr
    assert "0" == postgres_server.psql(DIFFERENT, database)


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
FLOATS = st.floats(allow_nan=False)
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001
ROWS = st.lists(
    st.tuples(
        st.none() | st.booleans(),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | FLOATS,
        st.none() | st.decimals(-(10**8), 10**8, places=3),
        st.none() | TEXTS | st.sampled_from(["", "\\.", '"', "\r\n", "NULL", "=1", "***", " "]),
        st.none() | st.binary(max_size=8),
        st.none() | st.dates(),
        st.none() | st.times(),
        st.none() | MOMENTS,
    ),
    min_size=1,
    max_size=12,
)
NAMES = (
    "a_bool",
    "a_big",
    "a_float",
    "a_number",
    "a_text",
    "some_bytes",
    "a_date",
    "a_time",
    "a_timestamp",
)


@pytest.mark.usefixtures("kinds_table")
def test_random_values_are_the_same_after_a_round_trip(manage: Manage, tmp_path: Path) -> None:
    """Values that Hypothesis generates."""

    @settings(
        max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    @given(rows=ROWS, suffix=st.sampled_from(["csv", "jsonl", "json", "parquet"]))
    def check(rows: Sequence[tuple[Any, ...]], suffix: str) -> None:
        asyncio.run(_fill(manage, rows))
        before, after = asyncio.run(round_trip(manage, tmp_path, suffix))
        assert before == after

    check()


async def _fill(manage: Manage, rows: Sequence[tuple[Any, ...]]) -> None:
    await execute(manage, "DELETE FROM kinds")
    url, names = manage.environ["DATABASE_URL"], ", ".join(NAMES)
    if on_postgres(manage):
        driver = await asyncpg.connect(url)
        marks = ", ".join(f"${number}" for number in range(1, len(NAMES) + 1))
        await driver.executemany(f"INSERT INTO kinds ({names}) VALUES ({marks})", rows)
        await driver.close()
        return
    marks = ", ".join("?" * len(NAMES))
    kept = [tuple(map(_as_sqlite_keeps, row)) for row in rows]
    with open_sqlite(url) as connection:
        connection.executemany(f"INSERT INTO kinds ({names}) VALUES ({marks})", kept)


def _as_sqlite_keeps(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat(" ", "microseconds")
    if isinstance(value, time):
        return value.isoformat("microseconds")
    if isinstance(value, int) and abs(value) > 2**62:  # `doubled` would not be an integer
        return value // 4
    return value.isoformat() if isinstance(value, date) else value
