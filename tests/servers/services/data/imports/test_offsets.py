"""`data import` of times with an offset into columns without a time zone."""

from __future__ import annotations

from pathlib import Path

import pytest

from oneoff.testing import Manage
from tests.support.database import query
from tests.support.imports import execute

TABLE = (
    "CREATE TABLE visits (id int PRIMARY KEY, day date, at timestamp, hour time, note varchar(40))"
)
OFFSETS = ["2026-01-31T09:30:00+05:00", "2026-01-31 09:30:00.5-03:30"]


def write(path: Path, column: str, value: str) -> Path:
    """Write two rows; the second one has the value."""
    if path.suffix == ".csv":
        path.write_text(f"id,{column}\n1,\n2,{value}\n")
    else:
        path.write_text(f'{{"id": 1, "{column}": null}}\n{{"id": 2, "{column}": "{value}"}}\n')
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("words", ["", "--on-conflict skip", "--resume"])
@pytest.mark.parametrize("value", OFFSETS)
async def test_an_offset_is_refused_with_its_line(
    manage: Manage, tmp_path: Path, kind: str, words: str, value: str
) -> None:
    """PostgreSQL would ignore it, and store another moment."""
    await execute(manage, TABLE)
    path = write(tmp_path / f"a.{kind}", "at", value)

    done = await manage(f"data import visits {path} {words} --confirm")

    line = 3 if kind == "csv" else 2
    assert 65 == done.exit_code, done.stderr
    assert f"{path}, line {line}, column at: '{value}' is not a valid timestamp" in done.stderr
    assert [(0,)] == query(manage.environ["DATABASE_URL"], "SELECT count(*) FROM visits")


@pytest.mark.parametrize(
    ("column", "value"),
    [("hour", "09:30:00+05:00"), ("day", "2026-01-31T23:30:00+05:00")],
)
async def test_other_columns_without_a_zone_refuse_offsets_too(
    manage: Manage, tmp_path: Path, column: str, value: str
) -> None:
    """Times and dates."""
    await execute(manage, TABLE)

    done = await manage(f"data import visits {write(tmp_path / 'a.csv', column, value)} --confirm")

    assert 65 == done.exit_code, done.stderr
    assert f"line 3, column {column}: '{value}' is not a valid" in done.stderr


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("zone", ["", "Z", "+00:00", "+00"])
async def test_an_offset_of_zero_is_accepted_and_left_out(
    manage: Manage, tmp_path: Path, kind: str, zone: str
) -> None:
    """Many programs write UTC in this way."""
    await execute(manage, TABLE)
    path = write(tmp_path / f"a.{kind}", "at", f"2026-01-31T09:30:00{zone}")

    done = await manage(f"data import visits {path} --confirm")

    assert 0 == done.exit_code, done.stderr
    url = manage.environ["DATABASE_URL"]
    found = query(url, "SELECT CAST(at AS text) FROM visits WHERE id = 2")
    assert found[0][0].startswith("2026-01-31 09:30:00")


@pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)
@pytest.mark.parametrize("size", range(40, 56))
async def test_an_offset_is_found_wherever_blocks_end(
    manage: Manage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """An offset of zero is not taken for another one there."""
    await execute(manage, TABLE)
    monkeypatch.setattr("oneoff.services.data.imports.source.BLOCK", size)
    path = write(tmp_path / "a.csv", "at", "2026-01-31 09:30:00.123456+00")
    done = await manage(f"data import visits {path} --dry-run")
    wrong = write(tmp_path / "b.csv", "at", "2026-01-31 09:30:00.123456+05")
    refused = await manage(f"data import visits {wrong} --dry-run")

    assert (0, 65) == (done.exit_code, refused.exit_code), refused.stderr


async def test_a_text_may_contain_an_offset(manage: Manage, tmp_path: Path) -> None:
    """Only columns of dates and times are checked."""
    await execute(manage, TABLE)
    path = write(tmp_path / "a.csv", "note", "2026-01-31T09:30:00+05:00")

    done = await manage(f"data import visits {path} --confirm")

    assert 0 == done.exit_code, done.stderr


@pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)
@pytest.mark.parametrize(
    ("value", "exit_code"),
    [
        ("2026-01-31 09:30 America/New_York", 65),
        ("2026-01-31 09:30 EST", 65),
        ("20260131T093000-0500", 65),
        ("2026-01-31 09:30 PM", 0),
        ("0044-03-15 09:30:00 BC", 0),
        ("2026-01-31 09:30:00 UTC", 0),
    ],
)
async def test_postgresql_refuses_other_spellings_of_a_zone(
    manage: Manage, tmp_path: Path, value: str, exit_code: int
) -> None:
    """Names and short forms. Other words after a time are no zones."""
    await execute(manage, TABLE)

    done = await manage(f"data import visits {write(tmp_path / 'a.csv', 'at', value)} --confirm")

    assert exit_code == done.exit_code, done.stderr
