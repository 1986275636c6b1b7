"""`data import` accepts the same values, and stores the same texts, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Enum, Integer, Table
from sqlalchemy.types import TypeDecorator

from app.models import Base
from oneoff.testing import Manage
from tests.support.database import query
from tests.support.imports import execute, on_postgres

Mood = Enum("happy", "sad", name="mood")


class Decorated(TypeDecorator[str]):
    """An enum inside another type."""

    impl = Mood
    cache_ok = True


@pytest.fixture(params=[Mood, Decorated()])
def moods(request: pytest.FixtureRequest) -> Iterator[None]:
    """Declare a table with an enum."""
    number, mood = Column("id", Integer, primary_key=True), Column("mood", request.param)
    model = Table("moods", Base.metadata, number, mood)
    yield
    Base.metadata.remove(model)


async def create_moods(manage: Manage) -> None:
    """Create the table in the database, as SQLAlchemy would."""
    kind = "varchar(5)"
    if on_postgres(manage):
        kind = "mood"
        await execute(manage, "CREATE TYPE mood AS ENUM ('happy', 'sad')")
    await execute(manage, f"CREATE TABLE moods (id integer PRIMARY KEY, mood {kind})")


@pytest.mark.usefixtures("moods")
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
async def test_a_text_that_is_no_member_of_an_enum_is_refused(
    manage: Manage, tmp_path: Path, suffix: str
) -> None:
    """With its line; the members are accepted, and so is NULL."""
    await create_moods(manage)
    good, bad = tmp_path / f"good.{suffix}", tmp_path / f"bad.{suffix}"
    for path, mood in ((good, "sad"), (bad, "angry")):
        csv = f"id,mood\n1,happy\n2,\n3,{mood}\n"
        path.write_text(csv if suffix == "csv" else as_json(mood), encoding="utf-8")

    refused = await manage(f"data import moods {bad} --confirm")
    done = await manage(f"data import moods {good} --confirm")

    line = 4 if suffix == "csv" else 3
    assert (65, 0) == (refused.exit_code, done.exit_code), done.stderr
    assert f"line {line}, column mood: 'angry' is not a valid" in refused.stderr
    found = query(manage.environ["DATABASE_URL"], "SELECT mood FROM moods ORDER BY id")
    assert [("happy",), (None,), ("sad",)] == found


DECIMALS = {
    "123.45": "123.45",
    "-7": "-7.00",
    "1.239": "1.24",
    "-0.005": "-0.01",
    "0.0049": "0.00",
    "-0.001": "0.00",
    "000999.994": "999.99",
    "1.5e2": "150.00",
    " .5 ": "0.50",
}
TOO_LARGE = ("123456.789", "999.995", "-1e3", "1e999999999", "Infinity")


async def test_a_decimal_is_rounded_to_the_scale_of_its_column(
    manage: Manage, tmp_path: Path
) -> None:
    """SQLite itself would store any number."""
    await execute(manage, "CREATE TABLE prices (id integer PRIMARY KEY, price numeric(5, 2))")
    source, target = tmp_path / "prices.csv", tmp_path / "stored.csv"
    rows = [f"{at},{text}" for at, text in enumerate(DECIMALS)]
    source.write_text("\n".join(["id,price", *rows, ""]))

    done = await manage(f"data import prices {source} --confirm")
    await manage(f"data export prices -o {target}")

    assert 0 == done.exit_code, done.stderr
    stored = [line.partition(",")[2] for line in target.read_text().splitlines()[1:]]
    assert list(DECIMALS.values()) == stored


@pytest.mark.parametrize("text", TOO_LARGE)
async def test_a_decimal_that_is_too_large_for_its_column_is_refused(
    manage: Manage, tmp_path: Path, text: str
) -> None:
    """Also one that only rounding makes too large."""
    await execute(manage, "CREATE TABLE prices (id integer PRIMARY KEY, price numeric(5, 2))")
    path = tmp_path / "prices.csv"
    path.write_text(f"id,price\n1,1.00\n2,{text}\n")

    done = await manage(f"data import prices {path} --confirm")

    assert 65 == done.exit_code, done.stderr
    assert f"line 3, column price: '{text}' is out of the range of numeric(5" in done.stderr
    assert [(0,)] == query(manage.environ["DATABASE_URL"], "SELECT count(*) FROM prices")


@pytest.mark.parametrize("text", ["32768", "-32769", "99999"])
async def test_a_number_that_is_too_large_for_a_small_integer_is_refused(
    manage: Manage, tmp_path: Path, text: str
) -> None:
    """The largest and the smallest are accepted."""
    await execute(manage, "CREATE TABLE grades (id integer PRIMARY KEY, grade smallint)")
    bad, good = tmp_path / "bad.csv", tmp_path / "good.csv"
    bad.write_text(f"id,grade\n1,1\n2,{text}\n")
    good.write_text("id,grade\n1,32767\n2,-32768\n3,\n")

    refused = await manage(f"data import grades {bad} --confirm")
    done = await manage(f"data import grades {good} --confirm")

    assert (65, 0) == (refused.exit_code, done.exit_code), done.stderr
    assert f"line 3, column grade: '{text}' is out of the range of small" in refused.stderr.lower()
    found = query(manage.environ["DATABASE_URL"], "SELECT grade FROM grades ORDER BY id")
    assert [(32767,), (-32768,), (None,)] == found


def as_json(mood: str) -> str:
    """Return the rows as JSON lines."""
    return f'{{"id":1,"mood":"happy"}}\n{{"id":2,"mood":null}}\n{{"id":3,"mood":"{mood}"}}\n'


async def test_json_values_keep_their_text_in_a_text_column(manage: Manage, tmp_path: Path) -> None:
    """A boolean is `true`, not the `t` of a boolean column; a number keeps all digits."""
    await execute(manage, "CREATE TABLE texts (id integer PRIMARY KEY, v text)")
    path = tmp_path / "texts.jsonl"
    values = ("true", "false", "1.50", "[1,2]")
    path.write_text("\n".join(f'{{"id":{at},"v":{v}}}' for at, v in enumerate(values)))

    done = await manage(f"data import texts {path} --confirm")

    assert 0 == done.exit_code, done.stderr
    found = query(manage.environ["DATABASE_URL"], "SELECT v FROM texts ORDER BY id")
    assert list(values) == [value for (value,) in found]
