"""`data import --on-conflict` with keys and tables for which PostgreSQL has no ON CONFLICT."""

from __future__ import annotations

from pathlib import Path

import pytest

from oneoff.testing import Manage
from tests.support.database import query
from tests.support.imports import execute, write_csv

pytestmark = [
    pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True),
    pytest.mark.parametrize("on_conflict", ["skip", "update"]),
]


async def test_a_deferrable_key_is_refused(
    manage: Manage, tmp_path: Path, on_conflict: str
) -> None:
    """Exit code 2, and another key can be given."""
    await execute(
        manage,
        "CREATE TABLE late (id int, v int UNIQUE, CONSTRAINT late_key PRIMARY KEY (id) DEFERRABLE)",
    )
    path = write_csv(tmp_path / "late.csv", "1,2", header="id,v")
    line = f"data import late {path} --on-conflict {on_conflict} --confirm"

    refused = await manage(line)
    done = await manage(f"{line} --key v")

    assert (2, 0) == (refused.exit_code, done.exit_code), done.stderr
    assert (
        "the key id of late is deferrable, and PostgreSQL finds no existing rows by such a key"
        in (refused.stderr)
    )
    assert [(1, 2)] == query(manage.environ["DATABASE_URL"], "SELECT * FROM late")


async def test_a_table_with_rules_is_refused(
    manage: Manage, tmp_path: Path, on_conflict: str
) -> None:
    """Exit code 2 with the reason of the server."""
    await execute(
        manage,
        "CREATE TABLE ruled (id int PRIMARY KEY);"
        "CREATE RULE r AS ON INSERT TO ruled DO ALSO NOTIFY rows",
    )
    path = write_csv(tmp_path / "ruled.csv", "1", header="id")

    refused = await manage(f"data import ruled {path} --on-conflict {on_conflict} --confirm")

    assert 2 == refused.exit_code
    assert f"--on-conflict {on_conflict}: ruled refuses it: INSERT with ON CONFLICT" in (
        refused.stderr
    )
