"""`data export --where`: a value is compared as the column's type, on SQLite as on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Enum,
    Integer,
    LargeBinary,
    Numeric,
    Table,
    Text,
    Time,
    Uuid,
)

from app.models import Base
from oneoff.testing import Manage
from tests.support.database import query
from tests.support.fixture_types import Sessions
from tests.support.imports import execute

FIRST: dict[str, Any] = {
    "id": 1,
    "at": time(9, 30),
    "moment": datetime(2026, 1, 31, 9, 30, tzinfo=UTC),
    "uid": UUID("6fa459ea-ee8a-3ca4-894e-db77e160355e"),
    "data": b"\x00\xff",
    "mood": "happy",
    "price": 1.5,
    "big": 2**62,
    "flag": True,
    "name": "Null",
    "last, first": "lovelace, ada",
}


@pytest.fixture
def model() -> Iterator[Table]:
    """Declare a table with columns of many types."""
    table = Table(
        "cells",
        Base.metadata,
        Column("id", Integer, primary_key=True),
        Column("at", Time),
        Column("moment", DateTime(timezone=True)),
        Column("uid", Uuid),
        Column("data", LargeBinary),
        Column("mood", Enum("happy", "sad", name="mood")),
        Column("price", Numeric(10, 2)),
        Column("big", BigInteger),
        Column("flag", Boolean),
        Column("name", Text),
        Column("last, first", Text),
    )
    yield table
    Base.metadata.remove(table)


@pytest.fixture
async def cells(model: Table, manage: Manage, sessions: Sessions) -> Manage:
    """Create the table with one row of values and one without any."""
    async with sessions() as session:
        connection = await session.connection()
        await connection.run_sync(model.create)
        await session.execute(model.insert(), [FIRST, dict.fromkeys(FIRST) | {"id": 2}])
        await session.commit()
    return manage


@pytest.mark.parametrize(
    "condition",
    [
        "at=09:30",
        "at=09:30:00",
        "at>=09:29:59.5",
        "at!=09:31",
        "moment=2026-01-31T09:30Z",
        "uid=6FA459EA-EE8A-3CA4-894E-DB77E160355E",
        "uid=6fa459eaee8a3ca4894edb77e160355e",
        r"data=\x00FF",
        "mood=happy",
        "price=1.50",
        f"big={2**62}",
        "flag=yes",
        'name="Null"',
        '"last, first"=lovelace, ada',
        "last, first~ada",
    ],
)
async def test_a_condition_finds_the_value_however_it_is_written(
    cells: Manage, condition: str
) -> None:
    """SQLite itself would compare another text, and find no row."""
    done = await cells(["data", "export", "cells", "--columns", "id", "--where", condition])

    assert (0, "1") == (done.exit_code, done.stdout.split()[1]), done.stderr


@pytest.mark.parametrize(
    "condition",
    [
        "at=soon",
        "uid=6fa4",
        "data=\\x0",
        "mood=angry",
        "price=much",
        "id=99999999999999999999",
        "flag=perhaps",
    ],
)
async def test_a_value_of_another_type_is_a_usage_error(cells: Manage, condition: str) -> None:
    """Exit code 2, on both databases."""
    refused = await cells(["data", "export", "cells", "--where", condition])

    assert (2, "") == (refused.exit_code, refused.stdout)
    assert f"error[bad-condition]: --where {condition!r}: " in refused.stderr
    assert "is not a valid" in refused.stderr


@pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)
async def test_a_domain_that_refuses_null_can_be_in_a_condition(manage: Manage) -> None:
    """Its value is compared as the type below it."""
    await execute(
        manage,
        "CREATE DOMAIN rank AS int NOT NULL; CREATE TABLE ranks (n rank);"
        "INSERT INTO ranks VALUES (1), (2)",
    )

    done = await manage(["data", "export", "ranks", "--where", "n>1"])
    refused = await manage(["data", "export", "ranks", "--where", "n>high"])

    assert (0, "n\n2\n", 2) == (done.exit_code, done.stdout, refused.exit_code), done.stderr


async def test_a_column_with_a_comma_in_its_name_can_be_chosen(
    cells: Manage, tmp_path: Path
) -> None:
    """In double quotes, for exports and for imports."""
    file, words = str(tmp_path / "cells.csv"), ["--columns", 'id, "last, first"']

    shown = await cells(["data", "export", "cells", *words])
    written = await cells(["data", "export", "cells", *words, "-o", file])
    await execute(cells, "DELETE FROM cells")
    done = await cells(["data", "import", "cells", file, *words, "--confirm"])

    assert 'id,"last, first"\n1,"lovelace, ada"\n2,\n' == shown.stdout
    assert (0, 0) == (written.exit_code, done.exit_code), done.stderr
    found = query(cells.environ["DATABASE_URL"], 'SELECT "last, first" FROM cells ORDER BY id')
    assert [("lovelace, ada",), (None,)] == found
