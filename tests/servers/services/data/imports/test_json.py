"""`data import` of JSON: members, texts that can't be stored, and files in the other format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oneoff.testing import Manage
from tests.support.database import query
from tests.support.imports import execute, load, names

KINDS = ["jsonl", "json"]
TABLE = "CREATE TABLE doc (id int PRIMARY KEY, note varchar(30), body json)"


def write_json(path: Path, *objects: str) -> Path:
    """Write objects as the suffix of the file says, each on a line of its own."""
    lines = "\n".join(objects) if path.suffix == ".jsonl" else "[" + ",\n".join(objects) + "]"
    path.write_text(lines + "\n")
    return path


TWICE = [
    '{"name":"x","name":"y"}',
    '{"name" :"x", "name"\t: "y"}',
    '{"name":"x","n\\u0061me":"y"}',
    '{"name": "x\\":", "name" : ""}',
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("line", [1, 2])
@pytest.mark.parametrize("twice", TWICE)
async def test_a_repeated_member_is_a_bad_row(
    manage: Manage, tmp_path: Path, kind: str, line: int, twice: str
) -> None:
    """It is unknown which of its values is right. Other rows can be imported."""
    rows = ['{"name": "ci"}', '{"name": "backup"}']
    rows[line - 1] = twice
    path = write_json(tmp_path / f"a.{kind}", *rows)

    refused = await load(manage, path)
    done = await load(manage, path, "--rejects", str(tmp_path / "bad"))

    assert 65 == refused.exit_code
    assert f"line {line}: the object has the member name more than once" in refused.stderr
    assert (0, 1) == (done.exit_code, done.rows), done.stderr
    assert 1 == len(names(manage))


async def test_a_repeated_member_inside_a_value_is_kept(manage: Manage, tmp_path: Path) -> None:
    """A column of the type json stores the text as it is."""
    await execute(manage, TABLE)
    path = write_json(tmp_path / "a.jsonl", '{"id": 1, "body": {"a":1,"a":2}}')

    done = await manage(f"data import doc {path} --confirm")

    assert 0 == done.exit_code, done.stderr
    found = query(manage.environ["DATABASE_URL"], "SELECT CAST(body AS text) FROM doc")
    assert [('{"a":1,"a":2}',)] == [tuple(row) for row in found]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", ['"cut \\ud83d"', '{"a": ["\\uDADA"]}', '{"\\udc00": 1}'])
async def test_half_of_a_surrogate_pair_is_a_bad_value(
    manage: Manage, tmp_path: Path, kind: str, value: str
) -> None:
    """No database can store it. Both databases name the line and the column."""
    path = write_json(
        tmp_path / f"a.{kind}", '{"name": "ci \\ud83d\\ude00"}', f'{{"name": {value}}}'
    )

    refused = await load(manage, path)
    done = await load(manage, path, "--rejects", str(tmp_path / "bad"))

    assert 65 == refused.exit_code
    assert "line 2, column name: " in refused.stderr
    assert "contains a character that the database can't store" in refused.stderr
    assert (0, 1) == (done.exit_code, done.rows), done.stderr
    assert ["ci \U0001f600"] == names(manage)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
async def test_deeply_nested_json_is_a_bad_row(manage: Manage, tmp_path: Path, kind: str) -> None:
    """The error names its line, and the other rows can be imported."""
    await execute(manage, TABLE)
    deep = "[" * 90_000 + "]" * 90_000
    path = tmp_path / f"a.{kind}"
    if kind == "csv":
        path.write_text(f"id,body\n1,[]\n2,{deep}\n")
    else:
        write_json(path, '{"id": 1, "body": []}', f'{{"id": 2, "body": {deep}}}')

    refused = await manage(f"data import doc {path} --confirm")
    done = await manage(f"data import doc {path} --rejects {tmp_path / 'bad'} --confirm")

    assert 65 == refused.exit_code, refused.stderr
    assert f"a.{kind}, line {3 if kind == 'csv' else 2}" in refused.stderr
    assert (0, 1) == (done.exit_code, done.rows), done.stderr


@pytest.mark.parametrize("words", [[], ["--resume"]])
async def test_blank_lines_between_objects_are_no_rows(
    manage: Manage, tmp_path: Path, words: list[str]
) -> None:
    """Also lines of spaces, and lines with only the carriage return of a line end."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"name": "ci"}\r\n\r\n  \t\n{"name": "x"}\r\n{"nmae": "y"}\n')

    refused = await load(manage, path, *words)
    path.write_bytes(path.read_bytes().replace(b"nmae", b"name"))
    done = await load(manage, path, *words)

    assert "line 5: the object has nmae, which the first object does not have" in refused.stderr
    assert (0, 3) == (done.exit_code, done.rows), done.stderr
    assert ["ci", "x", "y"] == names(manage)


@pytest.mark.parametrize("kind", KINDS)
async def test_objects_may_differ_if_the_columns_are_named(
    manage: Manage, tmp_path: Path, kind: str
) -> None:
    """A member that an object lacks is NULL; members that are not named are left out."""
    await execute(manage, TABLE)
    rows = ('{"id": 1}', '{"note": "late", "id": 2, "x": 0}', '{"id": 3, "body": [], "note": ""}')
    path = write_json(tmp_path / f"a.{kind}", *rows)

    line = f"data import doc {path} --confirm"
    refused = await manage(line)
    missing = await manage(f"{line} --columns id,note,nothing")
    done = await manage(f"{line} --columns id,note")

    assert 65 == refused.exit_code
    assert "line 2: the object has note, x, which the first object does not have" in refused.stderr
    assert "name the columns with --columns" in refused.stderr
    assert 2 == missing.exit_code
    assert (0, 3) == (done.exit_code, done.rows), done.stderr
    found = query(manage.environ["DATABASE_URL"], "SELECT id, note, body FROM doc ORDER BY id")
    assert [(1, None, None), (2, "late", None), (3, "", None)] == [tuple(row) for row in found]


async def test_a_column_that_no_object_has_is_refused(manage: Manage, tmp_path: Path) -> None:
    """Otherwise it would be NULL in all rows."""
    await execute(manage, TABLE)
    path = write_json(tmp_path / "a.jsonl", '{"id": 1}', '{"id": 2, "nots": "x"}')

    done = await manage(f"data import doc {path} --columns id,note --confirm")

    assert 2 == done.exit_code
    assert f"--columns: {path} has no column 'note'" in done.stderr


@pytest.mark.parametrize(
    ("name", "text", "advice"),
    [
        ("a.jsonl", '[{"name": "x"}]', "it starts with an array: give --format json"),
        ("a.jsonl", '[\n  {"name": "x"}\n]', "it starts with an array: give --format json"),
        ("a.json", '{"name": "x"}\n{"name": "y"}\n', "give --format jsonl"),
        ("a.json", '{"data": [{"name": "x"}]}', """jq '.["data"]' FILE > rows.json"""),
        ("a.json", '{"n": 1,\n "rows": [\n  {"name": "x"}]}', """jq '.["rows"]' FILE > rows"""),
    ],
)
async def test_the_error_says_how_to_import_json_in_another_form(
    manage: Manage, tmp_path: Path, name: str, text: str, advice: str
) -> None:
    """The other format, or the part of the file that has the rows."""
    path = tmp_path / name
    path.write_text(text)

    done = await load(manage, path, "--json")

    assert 65 == done.exit_code
    assert advice in json.loads(done.stdout)["error"]["try"][0]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_object_without_a_value_for_a_column_with_a_default_is_a_bad_row(
    manage: Manage, tmp_path: Path, kind: str
) -> None:
    """NULL would differ from what a file without the column gives. Other columns are NULL."""
    await execute(
        manage, "CREATE TABLE job (id int PRIMARY KEY, note text, state text DEFAULT 'new')"
    )
    mixed = write_json(
        tmp_path / f"a.{kind}", '{"id": 1, "state": null}', '{"id": 2}', '{"id": 3, "state": "old"}'
    )
    apart = write_json(tmp_path / f"b.{kind}", '{"id": 4}', '{"id": 5, "note": "x"}')

    refused = await manage(f"data import job {mixed} --confirm")
    rejected = await manage(f"data import job {mixed} --rejects {tmp_path}/bad --confirm")
    done = await manage(f"data import job {apart} --columns id,note --confirm")

    assert 65 == refused.exit_code
    assert (
        "line 2: the object lacks state, which has a default (write the value or null, or import "
        "such objects from a file of their own)" in refused.stderr
    )
    assert (0, 2, 0, 2) == (rejected.exit_code, rejected.rows, done.exit_code, done.rows)
    assert [(1, None), (3, "old"), (4, "new"), (5, "new")] == query(
        manage.environ["DATABASE_URL"], "SELECT id, state FROM job ORDER BY id"
    )
