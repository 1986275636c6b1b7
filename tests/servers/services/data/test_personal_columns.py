"""Which columns are masked: those that the project names, and those with the name of a secret."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, text

from oneoff.core.project import Project
from oneoff.database.engine import Database
from oneoff.services.data.tables import find_table

METADATA = MetaData()
Table(
    "labels",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("token", String(20), info={"pii": False}),
)
TABLE = """
CREATE TABLE "Customers" (
    id integer PRIMARY KEY, phone varchar(20), api_token varchar(80), pin_code integer,
    password_changed_at varchar(20), note varchar(80)
)
"""


@pytest.mark.parametrize(
    ("pii", "masked"),
    [
        ((), {"api_token"}),
        (("Customers.phone",), {"api_token", "phone"}),
        (("customers.PHONE",), {"api_token", "phone"}),
        (("note",), {"api_token", "note"}),
        (("orders.phone",), {"api_token"}),
    ],
)
async def test_named_columns_and_secrets_are_masked(
    database: Database, pii: tuple[str, ...], masked: set[str]
) -> None:
    """A number is no secret, and neither is a name that only contains the word."""
    async with database.connect() as connection:
        await connection.execute(text(TABLE))
        table = await find_table(connection, Project("shop", pii=pii), "Customers")

    assert masked == {column.name for column in table.columns if column.pii}


async def test_the_model_decides_first(database: Database) -> None:
    """`info={"pii": False}` says that a column is no secret, in spite of its name."""
    project = Project("shop", metadata=f"{__name__}:METADATA", pii=("id",))
    async with database.connect() as connection:
        await connection.run_sync(METADATA.create_all)
        table = await find_table(connection, project, "labels")

    assert {"id": True, "token": False} == {one.name: one.pii for one in table.columns}
