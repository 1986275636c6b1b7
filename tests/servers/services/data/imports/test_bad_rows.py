"""`data import`: errors for bad files and bad rows, and the files of rejects."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from oneoff.testing import Manage
from tests.support.fixture_types import Sessions
from tests.support.imports import HEADER, account, bytes_of, files_in, load, names, write_csv

GOOD = account(1, "ci")
TEXT = f"{HEADER}\n{GOOD}\n".encode()
TRIGGER = (
    """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.name = 'root' THEN RAISE 'no account is called root'; END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER refuse BEFORE INSERT ON service_accounts
    FOR EACH ROW EXECUTE FUNCTION refuse()
    """,
)
OBJECT = b'{"id":1,"name":"ci","description":""}'


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("a.csv", b"", "a.csv is empty"),
        ("a.json", b"", "a.json is empty"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "a.csv.gz is empty"),
        ("a.jsonl.gz", b"", "a.jsonl.gz is empty"),
        ("a.parquet", b"", "a.parquet is not a complete Parquet file"),
        ("a.csv", b"\n" + TEXT, "a.csv has no header line"),
        ("a.csv", TEXT.decode().encode("utf-16"), "a.csv is UTF-16 (line 1)"),
        ("a.csv", TEXT.replace(b"ci", b"c\xe9"), "a.csv is not UTF-8 (line 2)"),
        ("a.csv", TEXT[:-1] + "é".encode()[:1], "a.csv is not UTF-8 (line 2)"),
        ("a.csv", TEXT.replace(b"ci", b"c\0i"), "a.csv is not text: line 2 contains a zero byte"),
        ("a.csv", TEXT * 9_999 + b"\0", "a.csv is not text: line 19,999 contains a zero byte"),
        ("a.csv", TEXT.replace(b"ci", b'"ci'), "a quote is opened in line 2 and never closed"),
        ("a.csv", TEXT + b'2,"x\n3,"y"\n', "of a cell in line 4, which starts in line 3"),
        ("a.csv", TEXT.replace(b",", b";"), "a.csv separates columns with semicolons"),
        ("a.csv", TEXT.replace(b"\n", b"\r"), "a.csv ends its lines with a carriage return"),
        ("a.csv", OBJECT, "a.csv contains JSON, not csv"),
        ("a.csv", b"PAR1" + TEXT, "a.csv is a Parquet file"),
        ("a.csv", TEXT + b"\\.\nlost\n", "a.csv contains the end-of-data mark \\. in line 3"),
        (
            "a.csv.gz",
            gzip.compress(TEXT * 100, mtime=0)[:-30],
            "a.csv.gz is incomplete: its compressed data",
        ),
        (
            "a.csv.gz",
            gzip.compress(TEXT, mtime=0)[:12] + b"\xff" * 20,
            "a.csv.gz can't be decompressed",
        ),
        ("a.jsonl", OBJECT + b"\n" + OBJECT[:-9], "a.jsonl, line 2: the row is not JSON"),
        ("a.jsonl", TEXT, "a.jsonl is not JSON Lines: line 1, the row is not JSON"),
        ("a.jsonl", b"[" + OBJECT + b"]", "a.jsonl is not JSON Lines: line 1, the row is not a"),
        ("a.jsonl", OBJECT + b'\n{"id":2,"nmae":"x"}', "line 2: the object has nmae, which"),
        ("a.json", b"[" + OBJECT + b",\n", "a.json is incomplete or not JSON at line 2"),
        ("a.json", b"[" + OBJECT + b"] x", "a.json has more text after its array, in line 1"),
        ("a.json", b"[" * 90_000, "a.json is not an array of JSON objects: line 1, the row is"),
        ("a.csv", b"x" * 2_000_000, "a.csv has a first line of more than 1 MiB"),
        ("a.json", OBJECT, "a.json is not an array of JSON objects: line 1, it has '{'"),
        ("a.parquet", b"PAR1" + TEXT, "a.parquet is not a complete Parquet file"),
    ],
)
async def test_a_bad_file_is_refused(
    manage: Manage, tmp_path: Path, name: str, data: bytes, problem: str
) -> None:
    """Exit code 65 with the reason; nothing is imported."""
    path = tmp_path / name
    path.write_bytes(data)

    done = await load(manage, path)

    assert 65 == done.exit_code, done.stderr
    assert problem in done.stderr
    assert [] == names(manage)


async def test_a_missing_file_is_refused(manage: Manage, tmp_path: Path) -> None:
    """So is a folder."""
    missing = await load(manage, tmp_path / "no.csv")
    folder = await load(manage, tmp_path, "--format", "csv")

    assert (65, 65) == (missing.exit_code, folder.exit_code)
    assert "no.csv can't be read: No such file or directory" in missing.stderr
    assert "can't be read: Is a directory" in folder.stderr


async def test_the_error_lists_all_wrong_column_names(manage: Manage, tmp_path: Path) -> None:
    """With a similar name if there is one."""
    path = write_csv(tmp_path / "a.csv", "x", header="nmae,active,active,size")

    done = await load(manage, path)

    assert 65 == done.exit_code
    assert (
        "service_accounts has no column 'nmae': did you mean name?; service_accounts has no "
        "column 'size': it has id, name, description, active, created_at; column 'active' is "
        "listed twice; column 'name' is missing, but the table requires it"
    ) in done.stderr


BAD_LINES = {
    "value": (
        account(2, "x", active="maybe"),
        "line 3, column active: 'maybe' is not a valid bool",
    ),
    "time": (account(2, "x", when="soon"), "line 3, column created_at: 'soon' is not a "),
    "number": (
        account(2, "x").replace("2,", "two,", 1),
        "line 3, column id: 'two' is not a valid int",
    ),
    "length": (account(2, "x" * 65), "line 3, column name: 'xxx"),
    "null": ("2,," + account(2, "x").partition(",x,")[2], "line 3, column name: the value is emp"),
    "check": (account(2, "Upper"), "line 3: the row is not allowed (ck_service_accounts_name_low"),
    "unique": (account(2, "ci"), "line 3, column name: 'ci' already exists"),
    "cells": ("2,x", "line 3: the row has 2 cells, not 5"),
}


@pytest.mark.parametrize("kind", BAD_LINES)
async def test_the_error_names_line_column_and_value_of_a_bad_row(
    manage: Manage, tmp_path: Path, kind: str
) -> None:
    """Nothing is imported."""
    line, problem = BAD_LINES[kind]
    path = write_csv(tmp_path / "a.csv", GOOD, line, account(3, "z"))

    done = await load(manage, path)

    assert 65 == done.exit_code, done.stderr
    assert problem.lower() in done.stderr.lower()
    assert [] == names(manage)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json"])
async def test_rejects_can_be_corrected_and_imported(
    manage: Manage, tmp_path: Path, suffix: str
) -> None:
    """The file of rejects has the format of the imported file."""
    lines = [line for kind, (line, _) in BAD_LINES.items() if kind != "cells"]
    path = tmp_path / f"rows.{suffix}"
    _write(path, [GOOD, *lines, account(9, "last")])
    bad = tmp_path / f"bad.{suffix}"

    done = await load(manage, path, "--rejects", str(bad))
    left = bytes_of(bad).decode()
    bad.write_text(
        left.replace("maybe", "f").replace("soon", "2026-01-01").replace("two", "2"),
        encoding="utf-8",
    )
    again = await load(manage, bad, "--rejects", str(tmp_path / f"worse.{suffix}"), "--key", "")

    assert (0, 2) == (done.exit_code, done.rows), done.stderr
    assert f"left out 7 of 9 rows, see {bad}" in done.stderr
    assert (0, 1) == (again.exit_code, again.rows), again.stderr
    assert ["ci", "x", "last"] == names(manage)


async def test_a_second_file_describes_the_error_of_each_reject(
    manage: Manage, tmp_path: Path
) -> None:
    """One JSON object for each row: the line in both files, column, value and error."""
    path = write_csv(tmp_path / "a.csv", GOOD, *(line for line, _ in BAD_LINES.values()))
    bad = tmp_path / "bad.csv"

    done = await load(manage, path, "--rejects", str(bad), "--json")

    errors = _errors(tmp_path / "bad.csv.errors.jsonl")
    assert (1, 8) == (done.rows, done.json["data"]["rejected"])
    assert [HEADER, *(line for line, _ in BAD_LINES.values())] == bytes_of(bad).decode().split(
        "\n"
    )[:-1]
    assert [(n, n + 1) for n in range(2, 10)] == [(e["line"], e["original_line"]) for e in errors]
    assert ["active", "created_at", "id", "name", "name", None, "name", None] == [
        error["column"] for error in errors
    ]
    assert ["maybe", "soon", "two"] == [error["value"] for error in errors[:3]]
    assert "the row has 2 cells, not 5" == errors[-1]["error"]


async def test_rejects_of_a_killed_import_do_not_block_the_next_one(
    manage: Manage, tmp_path: Path
) -> None:
    """They are removed, and named. In a container both processes have the same number."""
    path = write_csv(tmp_path / "new.csv", account(1, "one"), account(2, "two", active="maybe"))
    left = [f".bad.csv{end}.{os.getpid()}.partial" for end in ("", ".errors.jsonl")]
    for name in left:
        (tmp_path / name).touch()

    done = await load(manage, path, "--rejects", str(tmp_path / "bad.csv"))

    assert 0 == done.exit_code, done.stderr
    for name in left:
        assert f"removed an incomplete file of a run that was killed: {name}\n" in done.stderr
    assert [] == [path.name for path in files_in(tmp_path) if path.name in left]


async def test_an_existing_file_of_rejects_is_not_replaced(manage: Manage, tmp_path: Path) -> None:
    """Its rows may not have been corrected yet."""
    path = write_csv(tmp_path / "a.csv", GOOD)
    bad = write_csv(tmp_path / "bad.csv", "2,x")

    done = await load(manage, path, "--rejects", str(bad))

    assert 1 == done.exit_code
    assert f"error[file-exists]: {bad} already exists" in done.stderr
    assert [] == names(manage)


async def test_an_import_of_only_bad_rows_fails(manage: Manage, tmp_path: Path) -> None:
    """Exit code 65, even with --rejects; the file of rejects is written."""
    path = write_csv(tmp_path / "a.csv", "1,x", "2,y")

    done = await load(manage, path, "--rejects", str(tmp_path / "bad.csv"))

    assert 65 == done.exit_code
    assert "none of the 2 rows can be imported" in done.stderr
    assert bytes_of(path) == bytes_of(tmp_path / "bad.csv")


@pytest.fixture
async def tree(sessions: Sessions) -> None:
    """Create a table whose rows refer to one another and to accounts."""
    async with sessions() as session:
        await session.execute(
            text(
                "CREATE TABLE tree (id int PRIMARY KEY, parent int REFERENCES tree (id), "
                "account int REFERENCES service_accounts (id))"
            )
        )
        await session.commit()


@pytest.mark.usefixtures("tree")
async def test_a_row_may_refer_to_a_later_one(manage: Manage, tmp_path: Path) -> None:
    """An export, which is ordered by the key, may write rows in this order."""
    path = write_csv(tmp_path / "a.csv", "1,2,", "2,,", header="id,parent,account")

    done = await manage(f"data import tree {path} --confirm")

    assert (0, 2) == (done.exit_code, done.rows), done.stderr


@pytest.mark.usefixtures("tree")
async def test_the_error_names_a_row_that_refers_to_a_missing_row(
    manage: Manage, tmp_path: Path
) -> None:
    """With --rejects it is left out, together with the rows that refer to it."""
    rows = ("1,,", "2,,7", "3,2,", "5,3,", "4,1,")
    path = write_csv(tmp_path / "a.csv", *rows, header="id,parent,account")
    line = f"data import tree {path} --confirm"

    refused = await manage(line)
    done = await manage(f"{line} --rejects {tmp_path}/bad.csv")

    assert 65 == refused.exit_code
    assert "line 3" in refused.stderr
    assert "refers to a row that does not exist" in refused.stderr
    assert (0, 2) == (done.exit_code, done.rows), done.stderr
    assert [3, 4, 5] == [e["original_line"] for e in _errors(tmp_path / "bad.csv.errors.jsonl")]


async def test_a_row_that_already_exists_can_be_rejected(manage: Manage, tmp_path: Path) -> None:
    """Like any other row that the table refuses."""
    await load(manage, write_csv(tmp_path / "a.csv", GOOD, account(2, "backup")))
    path = write_csv(tmp_path / "b.csv", account(3, "ci"), account(2, "new"), account(4, "z"))

    done = await load(manage, path, "--rejects", str(tmp_path / "bad.csv"))

    assert (0, 1) == (done.exit_code, done.rows), done.stderr
    assert ["ci", "backup", "z"] == names(manage)


def _errors(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _write(path: Path, lines: list[str]) -> None:
    """Write csv lines in the format of the file's name."""
    if path.suffix == ".csv":
        write_csv(path, *lines)
        return
    rows = [dict(zip(HEADER.split(","), line.split(","), strict=True)) for line in lines]
    for row in rows:
        row["description"] = ""
    objects = [
        json.dumps({name: row[name] or None for name in row} | {"description": ""}) for row in rows
    ]
    text = "\n".join(objects) if path.suffix == ".jsonl" else f"[{','.join(objects)}]"
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("words", [(), ("--resume",), ("--rejects", "bad.csv")])
async def test_an_import_into_a_view_or_a_framework_table_is_refused(
    manage: Manage, sessions: Sessions, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Exit code 2 with the reason."""
    async with sessions() as session:
        await session.execute(text("CREATE VIEW shown AS SELECT * FROM service_accounts"))
        await session.commit()
    path = write_csv(tmp_path / "a.csv", "1", header="id")
    line = [str(path), *words, "--confirm"]

    view = await manage(["data", "import", "shown", *line])
    own = await manage(["data", "import", "oneoff_runs", *line])

    assert (2, 2) == (view.exit_code, own.exit_code)
    assert "shown is a view, which stores no rows" in view.stderr
    assert "oneoff_runs belongs to oneoff, and only its commands write to it" in own.stderr


@pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)
@pytest.mark.parametrize("words", [(), ("--rejects", "bad.csv")])
async def test_a_row_that_a_trigger_refuses_is_a_data_error(
    manage: Manage, sessions: Sessions, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Exit code 65 with the trigger's message; it is not reported as a bug of the command."""
    async with sessions() as session:
        for statement in TRIGGER:
            await session.execute(text(statement))
        await session.commit()
    path = write_csv(tmp_path / "a.csv", account(1, "ci"), account(2, "root"))

    refused = await load(manage, path, *words)

    assert 65 == refused.exit_code
    assert "a.csv, a trigger refuses a row: no account is called root" in refused.stderr
    assert [] == names(manage)
