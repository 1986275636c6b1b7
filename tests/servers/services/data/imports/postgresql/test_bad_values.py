"""`data import` into PostgreSQL: values that types refuse in their own ways."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oneoff.testing import Manage
from tests.support.imports import bytes_of, execute

pytestmark = pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)

EXTENSIONS = "CREATE EXTENSION IF NOT EXISTS hstore; CREATE EXTENSION IF NOT EXISTS ltree"
VALUES = {
    "jsonb": ("{oops", "'{oops' is not a valid jsonb"),
    "json": ("{oops", "'{oops' is not a valid json"),
    "hstore": ("a=>", "'a=>' is refused by the database"),
    "ltree": ("a..b", "'a..b' is refused by the database"),
    "int[]": ('"{1,x}"', "'{1,x}' is not a valid integer[]"),
    "int4range": ('"[3,1]"', "'[3,1]' is refused by the database"),
    "point": ("here", "'here' is not a valid point"),
    "varchar(9)": ("0123456789", "'0123456789' is too long for character varying(9)"),
}


@pytest.mark.parametrize("words", [(), ("--on-conflict", "skip"), ("--rejects",)])
@pytest.mark.parametrize("kind", VALUES)
async def test_the_error_names_the_value_of_any_type(
    manage: Manage, tmp_path: Path, kind: str, words: tuple[str, ...]
) -> None:
    """Even if the input function gives a context or an error code of its own."""
    await execute(manage, EXTENSIONS)
    await execute(manage, f"CREATE TABLE doc (id int PRIMARY KEY, body {kind})")
    value, problem = VALUES[kind]
    path, bad = tmp_path / "a.csv", tmp_path / "bad.csv"
    rows = "".join(f"{number},\n" for number in range(500))
    path.write_text(f"id,body\n{rows}501,{value}\n502,\n")

    files = [str(bad)] if words == ("--rejects",) else []
    done = await manage(["data", "import", "doc", str(path), *words, *files, "--confirm"])

    if files:
        assert (0, 501) == (done.exit_code, done.rows), done.stderr
        facts = json.loads(bytes_of(Path(f"{bad}.errors.jsonl")))
        assert (502, "body") == (facts["original_line"], facts["column"])
        assert problem == f"{facts['value']!r} {facts['error']}"
    else:
        assert 65 == done.exit_code, done.stderr
        assert f"a.csv, line 502, column body: {problem}" in done.stderr


@pytest.mark.parametrize("words", [(), ("--rejects",)])
async def test_a_value_that_is_too_large_for_an_index_is_a_bad_row(
    manage: Manage, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """The server reports a limit of the program."""
    await execute(manage, "CREATE TABLE doc (id int, body text UNIQUE)")
    text = "".join(f"{number:x}" for number in range(20_000))
    path, bad = tmp_path / "a.csv", tmp_path / "bad.csv"
    path.write_text(f"id,body\n1,x\n2,{text}\n3,y\n")

    files = [str(bad)] if words else []
    done = await manage(["data", "import", "doc", str(path), *words, *files, "--confirm"])

    if files:
        assert (0, 2) == (done.exit_code, done.rows), done.stderr
        facts = json.loads(bytes_of(Path(f"{bad}.errors.jsonl")))
        assert (3, "54000") == (facts["original_line"], facts["code"])
    else:
        assert 65 == done.exit_code, done.stderr
        assert "a.csv, line 3: the row is too large for the table or an index" in done.stderr
