"""`data import`: files whose columns differ from those of the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from oneoff.testing import Manage
from tests.support.database import query
from tests.support.imports import load, names, write_csv

MANY = [f"column {number}" for number in range(9_000)]
LONGEST = 10_000  # characters of an error, with its reason and advice


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
async def test_an_error_about_many_columns_has_a_bounded_length(
    manage: Manage, tmp_path: Path, kind: str
) -> None:
    """On the screen, as JSON and in the record of the run."""
    path = write_csv(tmp_path / "wide.csv", header=",".join(["name", *MANY]))
    if kind == "jsonl":
        path = tmp_path / "wide.jsonl"
        members = ", ".join(f'"{name}": 1' for name in MANY)
        path.write_text(f'{{"name": "ci"}}\n{{"name": "x", {members}}}\n')

    done = await load(manage, path)
    as_json = await load(manage, path, "--json")

    found = query(manage.environ["DATABASE_URL"], "SELECT message FROM oneoff_runs")
    longest = max(len(message or "") for (message,) in found)
    sizes = (len(done.stderr), len(as_json.stdout), longest)
    assert 65 == done.exit_code
    assert "column 0" in done.stderr
    assert [True] * 3 == [size < LONGEST for size in sizes], sizes


async def test_a_repeated_name_may_be_left_out(manage: Manage, tmp_path: Path) -> None:
    """Also several empty names, as a spreadsheet writes them for empty columns."""
    path = write_csv(tmp_path / "a.csv", "ci,1,2,x,y", header="name,b,b,,")

    refused = await load(manage, path)
    done = await load(manage, path, "--columns", "name")

    assert 65 == refused.exit_code
    assert "column 'b' is listed twice" in refused.stderr
    assert (0, 1) == (done.exit_code, done.rows), done.stderr
    assert ["ci"] == names(manage)


async def test_a_repeated_name_is_refused_if_it_is_imported(manage: Manage, tmp_path: Path) -> None:
    """It is unknown which of the two columns is meant."""
    path = write_csv(tmp_path / "a.csv", "ci,x", header="name,name")

    done = await load(manage, path, "--columns", "name")

    assert 65 == done.exit_code
    assert "column 'name' is listed twice" in done.stderr


@pytest.mark.parametrize("words", [["--on-conflict", "skip"], ["--on-conflict", "update"]])
async def test_a_wrong_name_in_the_file_is_reported_before_a_missing_key(
    manage: Manage, tmp_path: Path, words: list[str]
) -> None:
    """The wrong name is the reason why the key is missing."""
    path = write_csv(tmp_path / "a.csv", "1,ci", header="Id,name")

    done = await load(manage, path, *words)

    assert 65 == done.exit_code
    assert "service_accounts has no column 'Id'" in done.stderr
