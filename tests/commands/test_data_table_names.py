"""`data export` and `data import` protect a table, however its name is typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from oneoff.testing import Manage
from tests.support.database import query
from tests.support.fixture_types import MakeUser


def spellings(manage: Manage) -> list[str]:
    """Return other names of the table `users`; on PostgreSQL also of a table that inherits it."""
    url = manage.environ["DATABASE_URL"]
    if url.startswith("sqlite"):
        return ["USERS", "Users"]
    query(url, "CREATE TABLE old_users (PRIMARY KEY (id)) INHERITS (users)")
    query(url, "INSERT INTO old_users SELECT * FROM users")
    return ["public.users", "old_users", "public.old_users"]


async def test_personal_data_is_masked_under_every_name(
    manage: Manage, make_user: MakeUser
) -> None:
    """No value is written if the operator gives no reason."""
    await make_user("ada")
    names = spellings(manage)

    exported = [await manage(f"data export {name} --format csv") for name in ["users", *names]]

    assert {0} == {one.exit_code for one in exported}, exported
    assert not any("ada@example.com" in one.stdout for one in exported)
    assert all("masked as personal data" in one.stderr for one in exported)


async def test_a_masked_file_is_refused_under_every_name(
    manage: Manage, make_user: MakeUser, tmp_path: Path
) -> None:
    """The import would replace the real values with masked ones."""
    await make_user("ada")
    names, file = spellings(manage), tmp_path / "masked.csv"
    assert 0 == (await manage(f"data export users -o {file}")).exit_code
    before = query(manage.environ["DATABASE_URL"], "SELECT email, password_hash FROM users")

    refused = [
        await manage(f"data import {name} {file} --on-conflict update --confirm") for name in names
    ]

    assert {65} == {one.exit_code for one in refused}, [one.stderr for one in refused]
    assert all("error[masked-data]" in one.stderr for one in refused)
    assert before == query(manage.environ["DATABASE_URL"], "SELECT email, password_hash FROM users")


@pytest.mark.parametrize("name", ["oneoff_environment", "ONEOFF_ENVIRONMENT", "public.oneoff_runs"])
async def test_the_tables_of_the_framework_are_refused_under_every_name(
    manage: Manage, tmp_path: Path, name: str
) -> None:
    """Or the database has no table with this name."""
    file = tmp_path / "rows.csv"
    file.write_text("id,environment\n1,development\n")

    refused = await manage(f"data import {name} {file} --confirm")

    assert ("error[usage]" in refused.stderr) or ("error[unknown-table]" in refused.stderr)
    assert refused.exit_code


@pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)
@pytest.mark.parametrize("name", ["a.b.c", '"a.b".c', '"a.b"."c"'])
async def test_a_schema_may_have_a_dot_in_its_name(manage: Manage, name: str) -> None:
    """Each dot may separate the schema; with quotes, only that one does."""
    execute_all(manage, 'CREATE SCHEMA "a.b"', 'CREATE TABLE "a.b".c AS SELECT 1 AS id')

    done = await manage(["data", "export", name])

    assert (0, "id\n1\n") == (done.exit_code, done.stdout), done.stderr


@pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)
async def test_a_name_that_means_two_tables_is_refused(manage: Manage) -> None:
    """The error shows how to name one of them."""
    execute_all(
        manage,
        'CREATE SCHEMA "a.b"',
        "CREATE SCHEMA a",
        'CREATE TABLE "a.b".c AS SELECT 1 AS id',
        'CREATE TABLE a."b.c" AS SELECT 2 AS id',
    )

    refused = await manage("data export a.b.c")
    done = await manage(["data", "export", 'a."b.c"'])

    assert 2 == refused.exit_code
    assert "the name 'a.b.c' means several tables" in refused.stderr
    assert 'quote the schema and the name as in SQL: "a.b".c or a."b.c"' in refused.stderr
    assert (0, "id\n2\n") == (done.exit_code, done.stdout), done.stderr


@pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)
async def test_a_table_without_columns_is_not_called_unknown(manage: Manage) -> None:
    """The same is true for an index and a sequence, which are no tables."""
    execute_all(manage, "CREATE TABLE empty ()")

    empty = await manage("data export empty")
    index = await manage("data export users_pkey")

    assert (2, 1) == (empty.exit_code, index.exit_code)
    assert "the table empty has no columns" in empty.stderr
    assert "error[unknown-table]: there is no table 'users_pkey'" in index.stderr


@pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)
async def test_a_table_in_other_case_is_suggested(manage: Manage) -> None:
    """PostgreSQL distinguishes capital letters, SQLite does not."""
    done = await manage("data export USERS")

    assert 1 == done.exit_code
    assert "there is no table 'USERS': did you mean users?" in done.stderr


@pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)
async def test_inherited_rows_are_exported_once(manage: Manage, tmp_path: Path) -> None:
    """The rows of a child are in the export of the child, not also in that of its parent."""
    parent, child = "CREATE TABLE parent (id int)", "CREATE TABLE child () INHERITS (parent)"
    execute_all(
        manage, parent, child, "INSERT INTO parent VALUES (1)", "INSERT INTO child VALUES (2)"
    )

    done = [await manage(f"data export {name} -o {tmp_path}/{name}.csv") for name in TREE]
    execute_all(manage, "TRUNCATE parent, child")
    again = [await manage(f"data import {name} {tmp_path}/{name}.csv --confirm") for name in TREE]

    assert [0] * 4 == [one.exit_code for one in done + again]
    assert "without the rows of the tables that inherit from it; export them too: child" in (
        done[0].stderr
    )
    assert [(1,), (2,)] == query(
        manage.environ["DATABASE_URL"], "SELECT id FROM parent ORDER BY id"
    )


@pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)
async def test_a_partitioned_table_is_exported_with_all_its_rows(manage: Manage) -> None:
    """Without a warning: its rows are only in its partitions."""
    execute_all(
        manage,
        "CREATE TABLE split (id int) PARTITION BY LIST (id)",
        "CREATE TABLE split_1 PARTITION OF split FOR VALUES IN (1)",
        "INSERT INTO split VALUES (1)",
    )

    done = await manage("data export split")

    assert (0, "id\n1\n") == (done.exit_code, done.stdout)
    assert "inherit" not in done.stderr


TREE = ("parent", "child")


def execute_all(manage: Manage, *statements: str) -> None:
    """Run statements one by one on the database of the test."""
    for statement in statements:
        query(manage.environ["DATABASE_URL"], statement)
