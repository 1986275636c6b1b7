"""`data import` into PostgreSQL: the table itself decides which rows it accepts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from oneoff.testing import Manage
from tests.support.database import query
from tests.support.imports import execute

pytestmark = pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)

WAYS = {
    "csv": [],
    "jsonl": [],
    "skip": ["--on-conflict", "skip"],
    "update": ["--on-conflict", "update"],
    "rejects": ["--rejects"],
}
NORMALIZED = """
CREATE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.name := lower(NEW.name); NEW.state := coalesce(NEW.state, 'new'); RETURN NEW; END $$;
CREATE TABLE judged (
    id int PRIMARY KEY, name text CHECK (name = lower(name)), state text NOT NULL
);
CREATE TRIGGER tidy BEFORE INSERT ON judged FOR EACH ROW EXECUTE FUNCTION tidy();
"""
DEFAULT = """
CREATE TABLE judged (
    id int PRIMARY KEY, name text, state text DEFAULT 'new' CHECK (state IS NOT NULL)
)
"""
DOMAIN = """
CREATE DOMAIN required AS text DEFAULT 'new' CHECK (VALUE IS NOT NULL);
CREATE TABLE judged (id int PRIMARY KEY, name text, state required)
"""


def write(path: Path, *rows: dict[str, Any]) -> Path:
    """Write rows as csv or JSON lines."""
    lines = [json.dumps(row) for row in rows]
    if path.suffix == ".csv":
        cells = [["" if cell is None else str(cell) for cell in row.values()] for row in rows]
        lines = [",".join(line) for line in ([*rows[0]], *cells)]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return path


async def load(manage: Manage, path: Path, way: str = "csv") -> Any:
    """Import a file into the table `judged`."""
    words = [*WAYS[way], *([f"{path}.bad"] if way == "rejects" else [])]
    return await manage(["data", "import", "judged", str(path), "--confirm", *words])


def rejected(path: Path) -> list[tuple[Any, ...]]:
    """Return line, columns, and error of the rejects."""
    texts = Path(f"{path}.bad.errors.jsonl").read_text(encoding="utf-8").splitlines()
    facts = [json.loads(line) for line in texts]
    return [(fact["original_line"], fact["column"], fact["error"]) for fact in facts]


def rows(manage: Manage, columns: str = "*") -> list[Any]:
    """Return the rows of the table."""
    return query(manage.environ["DATABASE_URL"], f"SELECT {columns} FROM judged ORDER BY 1")


@pytest.mark.parametrize("table", [NORMALIZED, DEFAULT, DOMAIN])
@pytest.mark.parametrize("way", WAYS)
async def test_rows_are_checked_after_defaults_and_triggers(
    manage: Manage, tmp_path: Path, table: str, way: str
) -> None:
    """Whatever the format and the options."""
    await execute(manage, table)
    name = "Ada" if table == NORMALIZED else "ada"
    path = write(
        tmp_path / f"a.{'jsonl' if way == 'jsonl' else 'csv'}",
        {"id": 1, "name": name},
        {"id": 2, "name": "bob"},
    )

    done = await load(manage, path, way)

    assert (0, 2) == (done.exit_code, done.rows), done.stderr
    assert [(1, "ada", "new"), (2, "bob", "new")] == rows(manage)


UNIQUE = {
    "expression": ("CREATE UNIQUE INDEX one ON judged (lower(name))", None),
    "several columns of an expression": (
        "CREATE UNIQUE INDEX one ON judged (substr(name, id - id, 99))",
        None,
    ),
    "partial": ("CREATE UNIQUE INDEX one ON judged (name) WHERE id > 0", "name"),
    "exclusion": ("ALTER TABLE judged ADD CONSTRAINT one EXCLUDE (name WITH =)", "name"),
    "nulls not distinct": ("CREATE UNIQUE INDEX one ON judged (name) NULLS NOT DISTINCT", "name"),
}


@pytest.mark.parametrize("kind", UNIQUE)
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@pytest.mark.parametrize("more", ["", "ALTER TABLE judged ADD UNIQUE (id, name) DEFERRABLE"])
async def test_rows_that_any_unique_index_refuses_are_rejected(
    manage: Manage, tmp_path: Path, kind: str, suffix: str, more: str
) -> None:
    """Because of a row of the table, or of an earlier row of the file.

    With a deferrable constraint, COPY can't write directly into the table.
    """
    index, column = UNIQUE[kind]
    await execute(manage, f"CREATE TABLE judged (id int PRIMARY KEY, name text); {index}; {more}")
    await execute(manage, "INSERT INTO judged VALUES (1, NULL), (2, 'ada')")
    same = None if kind == "nulls not distinct" else "ada"
    path = write(
        tmp_path / f"a.{suffix}",
        {"id": 3, "name": "bob"},
        {"id": 4, "name": same},
        {"id": 5, "name": "bob"},
        {"id": 6, "name": "cy"},
    )

    done = await load(manage, path, "rejects")

    first = 2 if suffix == "csv" else 1
    assert (0, 2) == (done.exit_code, done.rows), done.stderr
    found = rejected(path)
    assert [(first + 1, column), (first + 2, column)] == [(line, name) for line, name, _ in found]
    assert all(error.endswith("(one)") for _, _, error in found)
    assert [1, 2, 3, 6] == [number for (number,) in rows(manage, "id")]


async def test_the_error_lists_the_refused_rows_without_rejects(
    manage: Manage, tmp_path: Path
) -> None:
    """Also for csv that goes through a staging table, because existing rows are skipped."""
    await execute(manage, "CREATE TABLE judged (id int PRIMARY KEY, name text CHECK (name > 'b'))")
    texts = ("ada", "bob", "al")
    values = [{"id": at, "name": name} for at, name in enumerate(texts)]
    for way, first in (("jsonl", 1), ("skip", 2), ("update", 2)):
        path = write(tmp_path / f"a.{'jsonl' if way == 'jsonl' else 'csv'}", *values)

        refused = await load(manage, path, way)

        assert 65 == refused.exit_code
        assert f"line {first}: the row is not allowed (judged_name_check)" in refused.stderr
        assert f"line {first + 2}: the row is not allowed (judged_name_check)" in refused.stderr
    assert [] == rows(manage)


async def test_rows_that_refer_to_one_another_are_imported_together(
    manage: Manage, tmp_path: Path
) -> None:
    """In a circle, and with a bad row in the file. Rows that refer to it are left out too."""
    reference = "FOREIGN KEY (a, b) REFERENCES judged (id, n) MATCH FULL"
    table = f"CREATE TABLE judged (id int, n int, a int, b int, PRIMARY KEY (id, n), {reference})"
    await execute(manage, table)
    values = [(1, 1, 2, 1), (2, 1, 1, 1), (3, 1, 9, 9), (4, 1, 3, 1), (5, 1, None, None)]
    values += [(6, 1, 1, None)]
    names: list[str] = ["id", "n", "a", "b"]
    path = write(tmp_path / "a.csv", *(dict(zip(names, one, strict=True)) for one in values))

    done = await load(manage, path, "rejects")

    assert (0, 3) == (done.exit_code, done.rows), done.stderr
    assert [4, 5, 7] == [line for line, _, _ in rejected(path)]
    assert [1, 2, 5] == [number for (number,) in rows(manage, "id")]


async def test_rows_of_a_chain_are_imported_without_a_duplicate(
    manage: Manage, tmp_path: Path
) -> None:
    """Each row refers to a later one, and so does the second row with the same key."""
    await execute(manage, "CREATE TABLE judged (id int PRIMARY KEY, a int REFERENCES judged)")
    values = [(1, 2), (2, 3), (2, 3), (3, 4), (4, None), (5, 9)]
    path = write(tmp_path / "a.csv", *({"id": one, "a": other} for one, other in values))

    done = await load(manage, path, "rejects")

    assert (0, 4) == (done.exit_code, done.rows), done.stderr
    assert [4, 7] == [line for line, _, _ in rejected(path)]


async def test_what_triggers_did_for_refused_rows_is_not_counted(
    manage: Manage, tmp_path: Path
) -> None:
    """A dry run and a run report the rows that are in the tables, also those of triggers."""
    await execute(
        manage,
        """
        CREATE TABLE judged (id int PRIMARY KEY, name text UNIQUE);
        CREATE TABLE history (id int);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO history VALUES (NEW.id); RETURN NEW; END $$;
        CREATE TRIGGER note BEFORE INSERT ON judged FOR EACH ROW EXECUTE FUNCTION note();
        """,
    )
    path = write(tmp_path / "a.csv", *({"id": at, "name": f"n{at % 3}"} for at in range(9)))
    line = f"data import judged {path} --json --rejects {path}"

    preview = await manage(f"{line}.1 --dry-run")
    real = await manage(f"{line}.bad --confirm")

    three = {"inserted": 3, "updated": 0, "deleted": 0}
    assert {"history": three, "judged": three} == preview.json["tables"] == real.json["tables"]
    assert [(3,)] == query(manage.environ["DATABASE_URL"], "SELECT count(*) FROM history")


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
async def test_an_update_names_the_rows_with_the_key_of_an_earlier_row(
    manage: Manage, tmp_path: Path, suffix: str
) -> None:
    """Also with --rejects, which imports the first of them."""
    await execute(manage, "CREATE TABLE judged (id int PRIMARY KEY, name text)")
    values = [{"id": at, "name": name} for at, name in ((1, "a"), (2, "b"), (1, "c"))]
    path = write(tmp_path / f"a.{suffix}", *values)

    refused = await load(manage, path, "update")
    done = await manage(
        f"data import judged {path} --on-conflict update --rejects {path}.bad --confirm"
    )

    line = 4 if suffix == "csv" else 3
    assert f"line {line}, column id: '1' is in the file more than once" in refused.stderr
    assert (65, 0, 2) == (refused.exit_code, done.exit_code, done.rows), done.stderr
    assert [(1, "a"), (2, "b")] == rows(manage)
