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
