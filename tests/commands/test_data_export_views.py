"""`data export` of a view: personal data that it reads is not written without a reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Column, Integer, Table, Text

from app.models import Base
from oneoff.testing import Manage
from tests.support.fixture_types import MakeUser
from tests.support.imports import execute, on_postgres

VIEWS = {
    "a column": "SELECT id, email AS name FROM users",
    "computed": "SELECT id, substr(email, 1, 99) AS name FROM users",
    "another view": "SELECT id, name FROM inner_view",
    "a subquery": "SELECT 1 AS id, (SELECT max(email) FROM users) AS name",
}
ON_POSTGRESQL = {
    "a row as a whole": "SELECT u.id, to_jsonb(u) AS name FROM users u",
    "a part of the row": "SELECT id, (u).email AS name FROM users u",
}


@pytest.mark.parametrize("kind", [*VIEWS, *ON_POSTGRESQL])
async def test_a_view_over_personal_data_needs_a_reason(
    manage: Manage, make_user: MakeUser, kind: str
) -> None:
    """Its columns can't be masked, because a view may compute them."""
    if kind in ON_POSTGRESQL and not on_postgres(manage):
        pytest.skip("SQLite has no rows as values")
    await make_user("ada")
    await execute(manage, f"CREATE VIEW inner_view AS {VIEWS['a column']}")
    await execute(manage, f"CREATE VIEW shown AS {(VIEWS | ON_POSTGRESQL)[kind]}")

    refused = await manage("data export shown")
    done = await manage(["data", "export", "shown", "--include-pii", "--reason", "ticket 4711"])

    assert (77, "") == (refused.exit_code, refused.stdout)
    assert "error[reason-required]: the view shown reads personal data: " in refused.stderr
    assert "users.email" in refused.stderr
    assert 0 == done.exit_code, done.stderr
    assert "ada@example.com" in done.stdout


@pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)
async def test_a_materialized_view_over_personal_data_needs_a_reason(
    manage: Manage, make_user: MakeUser
) -> None:
    """It stores the data, and the database knows its source."""
    await make_user("ada")
    await execute(manage, f"CREATE MATERIALIZED VIEW shown AS {VIEWS['a column']}")

    refused = await manage("data export shown")

    assert (77, "") == (refused.exit_code, refused.stdout)


async def test_a_view_over_other_data_is_exported(manage: Manage, make_user: MakeUser) -> None:
    """On PostgreSQL also over other columns of a table with personal data."""
    await make_user("ada")
    source = "users" if on_postgres(manage) else "role_counts"
    await execute(manage, f"CREATE VIEW shown AS SELECT count(*) AS n FROM {source}")

    done = await manage("data export shown")

    assert (0, "n") == (done.exit_code, done.stdout.split()[0]), done.stderr


@pytest.fixture
def declared() -> Iterator[None]:
    """Declare a model for the view."""
    name = Column("name", Text, info={"pii": True})
    model = Table("shown", Base.metadata, Column("id", Integer), name)
    yield
    Base.metadata.remove(model)


@pytest.mark.usefixtures("declared")
async def test_a_view_with_a_model_is_masked_by_its_marks(
    manage: Manage, make_user: MakeUser
) -> None:
    """The model says which columns show personal data."""
    await make_user("ada")
    await execute(manage, f"CREATE VIEW shown AS {VIEWS['a column']}")

    done = await manage("data export shown")

    assert 0 == done.exit_code, done.stderr
    assert "1,***" in done.stdout
