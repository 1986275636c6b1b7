"""`data import --rejects` into PostgreSQL: directly into the table, or through a staging table."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from stat import filemode
from typing import Any

import pytest
from sqlalchemy import text

from oneoff.services.data.imports.postgresql import copy_with_rejects
from oneoff.testing import Manage
from tests.support.database import query
from tests.support.fixture_types import Sessions
from tests.support.imports import account, bytes_of, load, names, write_csv

pytestmark = pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)

GOOD = [account(number, f"a{number}") for number in range(1, 40)]
BAD = [
    account(50, "x", active="maybe"),
    account(51, "a3"),
    account(52, "Upper"),
    account(7, "seven"),
    "53,x",
    account(54, "x" * 65),
]
WITH_TRIGGER = (
    "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$",
    """
    CREATE TRIGGER nothing BEFORE INSERT ON service_accounts
    FOR EACH ROW EXECUTE FUNCTION nothing()
    """,
)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read a few rows at a time, as if the file were large."""
    monkeypatch.setattr("oneoff.services.data.imports.source.BLOCK", 200)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Write a file of good rows with bad rows in several blocks."""
    lines = [*GOOD]
    for at, line in zip((35, 30, 22, 21, 12, 9), BAD, strict=True):
        lines.insert(at, line)
    return write_csv(tmp_path / "mixed.csv", *lines)


@pytest.mark.usefixtures("small_blocks")
async def test_copy_and_staging_tables_reject_the_same_rows(
    manage: Manage, sessions: Sessions, mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a trigger the import uses a staging table."""
    ways: list[bool] = []
    run = copy_with_rejects.CopyWithRejects.run

    async def seen(self: copy_with_rejects.CopyWithRejects, advance: Any) -> Any:
        ways.append(True)
        return await run(self, advance)

    monkeypatch.setattr(copy_with_rejects.CopyWithRejects, "run", seen)
    straight, found = await load(manage, mixed, "--rejects", f"{mixed}.1", "--json"), names(manage)
    await _execute(sessions, "DELETE FROM service_accounts", *WITH_TRIGGER)
    staged = await load(manage, mixed, "--rejects", f"{mixed}.2", "--json")

    assert [True] == ways
    assert (39, 6) == (straight.rows, straight.json["data"]["rejected"])
    assert (39, found) == (staged.rows, names(manage))
    assert bytes_of(Path(f"{mixed}.1")) == bytes_of(Path(f"{mixed}.2"))
    assert _errors_without_constraints(f"{mixed}.1") == _errors_without_constraints(f"{mixed}.2")


@pytest.mark.usefixtures("small_blocks")
async def test_rolled_back_rows_are_not_counted(manage: Manage, mixed: Path) -> None:
    """The server counts them, but a dry run and a run report only the rows that are imported."""
    line = f"data import service_accounts {mixed} --json --rejects {mixed}"

    preview = await manage(f"{line}.1 --dry-run")
    left = names(manage)
    real = await manage(f"{line}.2 --confirm")

    assert [] == left
    assert {"inserted": 39, "updated": 0, "deleted": 0} == preview.json["tables"][
        "service_accounts"
    ]
    assert preview.json["tables"] == real.json["tables"]


@pytest.mark.parametrize(
    ("reference", "rows"),
    [
        ("REFERENCES tree", ("1,2", "2,", "x,1")),
        ("REFERENCES service_accounts INITIALLY DEFERRED", ("1,", "2,", "3,7")),
    ],
)
async def test_references_are_checked_against_the_entire_file(
    manage: Manage, sessions: Sessions, tmp_path: Path, reference: str, rows: tuple[str, ...]
) -> None:
    """A row may refer to a later row. A row that would fail at the commit is rejected."""
    await _execute(sessions, f"CREATE TABLE tree (id int PRIMARY KEY, parent int {reference})")
    path = write_csv(tmp_path / "a.csv", *rows, header="id,parent")

    done = await manage(f"data import tree {path} --rejects {path}.bad --confirm")

    assert (0, 2) == (done.exit_code, done.rows), done.stderr
    assert f"id,parent\n{rows[2]}\n" == bytes_of(Path(f"{path}.bad")).decode()


async def test_the_error_of_a_missing_reference_names_the_column(
    manage: Manage, sessions: Sessions, tmp_path: Path
) -> None:
    """Also if rows are written directly into the table."""
    await _execute(
        sessions,
        "CREATE TABLE shelf (id int PRIMARY KEY)",
        "CREATE TABLE book (id int PRIMARY KEY, shelf int REFERENCES shelf)",
        "INSERT INTO shelf VALUES (1)",
    )
    path = write_csv(tmp_path / "a.csv", "1,1", "2,7", "3,", header="id,shelf")

    done = await manage(f"data import book {path} --rejects {path}.bad --confirm")

    assert (0, 2) == (done.exit_code, done.rows), done.stderr
    assert [("shelf", "7", "23503")] == [
        (each["column"], each["value"], each["code"]) for each in _errors(f"{path}.bad")
    ]


PARTS = (
    "CREATE TABLE parts (id int NOT NULL, at date NOT NULL, what text) PARTITION BY RANGE (at)",
    "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
    """
    CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')
    PARTITION BY LIST (id)
    """,
    "CREATE TABLE parts_3 PARTITION OF parts_2 FOR VALUES IN (1, 2)",
)


async def test_a_row_that_no_partition_accepts_is_rejected(
    manage: Manage, sessions: Sessions, tmp_path: Path
) -> None:
    """Also with partitions of partitions; the error names the key of the level that refuses it."""
    await _execute(sessions, *PARTS)
    rows = ("1,2026-01-05,a", "2,2027-01-01,b", "2,2026-02-03,c", "3,2026-02-03,d")
    path = write_csv(tmp_path / "a.csv", *rows, header="id,at,what")

    done = await manage(f"data import parts {path} --rejects {path}.bad --confirm")

    assert (0, 2) == (done.exit_code, done.rows), done.stderr
    assert ["id,at,what", rows[1], rows[3]] == bytes_of(Path(f"{path}.bad")).decode().split()
    assert [("at", "2027-01-01"), ("id", "3")] == [
        (each["column"], each["value"]) for each in _errors(f"{path}.bad")
    ]
    assert {"is not allowed (no partition accepts it)"} == {
        each["error"] for each in _errors(f"{path}.bad")
    }


@pytest.mark.parametrize("text", [r"\ud83d", r"a\u0000"])
async def test_the_error_names_the_member_whose_text_cannot_be_stored(
    manage: Manage, tmp_path: Path, text: str
) -> None:
    """The server itself fails at the first member that it reads, which may be another one."""
    path = tmp_path / "a.jsonl"
    rows = [
        f'{{"id": {n}, "name": "n{n}", "description": "{what}"}}'
        for n, what in ((1, ""), (2, text))
    ]
    path.write_text("\n".join(rows), encoding="utf-8")

    refused = await load(manage, path)
    done = await load(manage, path, "--rejects", f"{path}.bad")

    assert 65 == refused.exit_code
    assert f"{path}, line 2, column description: " in refused.stderr
    assert (0, 1) == (done.exit_code, done.rows), done.stderr
    assert ["description"] == [each["column"] for each in _errors(f"{path}.bad")]
    assert f"{rows[1]}\n" == bytes_of(Path(f"{path}.bad")).decode()


@pytest.mark.parametrize("key", ["serial", "int GENERATED ALWAYS AS IDENTITY"])
@pytest.mark.parametrize("more", ["", "kind int DEFAULT 1, "])
async def test_the_database_numbers_rows_if_the_file_has_no_key(
    manage: Manage, sessions: Sessions, tmp_path: Path, key: str, more: str
) -> None:
    """Also through a staging table, and if another column is part of the key."""
    columns = "id, kind" if more else "id"
    await _execute(
        sessions, f"CREATE TABLE numbered (id {key}, {more}n int, PRIMARY KEY ({columns}))"
    )
    objects = tmp_path / "a.jsonl"
    objects.write_text('{"n": 10}\n{"n": 20}\n', encoding="utf-8")
    path = write_csv(tmp_path / "a.csv", "30", "x", "40", header="n")

    first = await manage(f"data import numbered {objects} --confirm")
    second = await manage(f"data import numbered {path} --rejects {path}.bad --confirm")

    assert (0, 2) == (first.exit_code, first.rows), first.stderr
    assert (0, 2) == (second.exit_code, second.rows), second.stderr
    found = query(manage.environ["DATABASE_URL"], "SELECT n FROM numbered ORDER BY id")
    assert [10, 20, 30, 40] == [n for (n,) in found]


SECURED = (
    "DROP ROLE IF EXISTS tenant",
    "CREATE ROLE tenant LOGIN PASSWORD 'x'",
    "GRANT ALL ON SCHEMA public TO tenant",
    "GRANT ALL ON ALL TABLES IN SCHEMA public TO tenant",
    "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO tenant",
    "CREATE TABLE owned (id int PRIMARY KEY, owner int)",
    "GRANT SELECT, UPDATE, DELETE ON owned TO tenant",
    "ALTER TABLE owned ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own ON owned TO tenant USING (owner = 1) WITH CHECK (owner = 1)",
)


@pytest.fixture
async def tenant(manage: Manage, sessions: Sessions) -> AsyncIterator[Manage]:
    """Return `manage` for a role that may write some rows of a table, once it gets INSERT."""
    await _execute(sessions, *SECURED)
    address = manage.environ["DATABASE_URL"].rpartition("@")[2]
    manage.environ["DATABASE_URL"] = f"postgres://tenant:x@{address}"
    yield manage
    await _execute(sessions, "DROP OWNED BY tenant", "DROP ROLE tenant")


async def test_rows_that_a_policy_refuses_are_rejected(
    tenant: Manage, sessions: Sessions, tmp_path: Path
) -> None:
    """The other rows are imported, although COPY can't write the table.

    Without the INSERT privilege the import fails.
    """
    good = write_csv(tmp_path / "a.csv", "1,1", "2,1", header="id,owner")
    later = write_csv(tmp_path / "b.csv", "3,1", "4,1", header="id,owner")
    mixed = write_csv(tmp_path / "c.csv", "5,1", "6,2", "x,1", "7,1", header="id,owner")
    line = f"data import owned {mixed} --confirm --rejects {mixed}.bad"

    denied = await tenant(line)
    await _execute(sessions, "GRANT INSERT ON owned TO tenant")
    done = [
        await tenant(words)
        for words in (
            f"data import owned {good} --confirm",
            f"data import owned {later} --resume --confirm",
            line,
        )
    ]

    assert 78 == denied.exit_code
    assert [(0, 2)] * 3 == [(each.exit_code, each.rows) for each in done], done
    assert [
        (3, "the row is refused by row-level security, or because of a missing privilege"),
        (4, "is not a valid integer"),
    ] == [(each["original_line"], each["error"]) for each in _errors(f"{mixed}.bad")]


async def test_only_the_owner_can_read_rejects(manage: Manage, tmp_path: Path) -> None:
    """They may contain personal data. The message says "1 row", not "1 rows"."""
    path = write_csv(tmp_path / "a.csv", account(1, "ci"), "2,x")

    done = await load(manage, path, "--rejects", f"{path}.bad")

    assert "imported 1 row into service_accounts\n" == done.stdout
    assert ["-rw-------"] * 2 == [
        filemode(each.stat().st_mode)
        for each in (Path(f"{path}.bad"), Path(f"{path}.bad.errors.jsonl"))
    ]


async def _execute(sessions: Sessions, *statements: str) -> None:
    async with sessions() as session:
        for statement in statements:
            await session.execute(text(statement))
        await session.commit()


def _errors(path: str) -> list[dict[str, Any]]:
    lines = Path(f"{path}.errors.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _errors_without_constraints(path: str) -> list[dict[str, Any]]:
    """Return the errors without the names of constraints, which are not always known."""
    return [each | {"error": each["error"].partition(" (")[0]} for each in _errors(path)]
