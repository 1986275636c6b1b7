"""Which columns are masked: those that the project names, and those with the name of a secret."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, text

from oneoff.core.errors import Refused
from oneoff.core.project import Project
from oneoff.database.engine import Database
from oneoff.services.data.exports.view_sources import refuse_personal_data
from oneoff.services.data.tables import find_table

METADATA = MetaData()
Table(
    "labels",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("token", String(20), info={"pii": False}),
)
IN_SCHEMA = MetaData()
Table(
    "users",
    IN_SCHEMA,
    Column("id", Integer, primary_key=True),
    Column("email", String(20)),
    schema="crm",
)
WITH_KEY = MetaData()
Table(
    "guests",
    WITH_KEY,
    Column("id", Integer, primary_key=True),
    Column("e_mail", String(20), key="email", info={"pii": True}),
)
ON_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
IN_POSTGRESQL = """
CREATE SCHEMA crm;
CREATE TABLE crm.users (id integer PRIMARY KEY, email varchar(20));
CREATE TABLE events (id integer, email varchar(20)) PARTITION BY RANGE (id);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (9) PARTITION BY RANGE (id);
CREATE TABLE events_1_a PARTITION OF events_1 FOR VALUES FROM (0) TO (5);
CREATE TABLE crm.guests () INHERITS (crm.users);
CREATE VIEW emails AS SELECT email AS contact FROM crm.users
"""
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
        (("public.customers.phone", "main.customers.phone"), {"api_token", "phone"}),
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


async def test_a_column_of_a_model_is_found_by_its_name_in_the_database(database: Database) -> None:
    """`Column("e_mail", key="email")` has another name in Python."""
    project = Project("shop", metadata=f"{__name__}:WITH_KEY")
    async with database.connect() as connection:
        await connection.run_sync(WITH_KEY.create_all)
        table = await find_table(connection, project, "guests")

    assert {"id": False, "e_mail": True} == {one.name: one.pii for one in table.columns}


@ON_POSTGRESQL
@pytest.mark.parametrize("metadata", ["", f"{__name__}:IN_SCHEMA"])
async def test_a_name_with_a_schema_or_of_a_parent_masks_too(
    database: Database, metadata: str
) -> None:
    """A partition, and a table that inherits, have the rows of their parents."""
    project = Project("shop", metadata=metadata, pii=("crm.users.email", "events.email"))
    tables = ("crm.users", "crm.guests", "public.events", "events_1", "events_1_a")
    async with database.connect() as connection:
        for statement in IN_POSTGRESQL.split(";"):
            await connection.execute(text(statement))
        found = [await find_table(connection, project, name) for name in tables]

    masked = [(one.name, [column.name for column in one.columns if column.pii]) for one in found]
    assert [(name, ["email"]) for name in tables] == masked


@ON_POSTGRESQL
async def test_a_view_that_reads_a_column_named_with_its_schema_is_refused(
    database: Database,
) -> None:
    """The view gives the column another name."""
    project = Project("shop", metadata=f"{__name__}:IN_SCHEMA", pii=("crm.users.email",))
    async with database.connect() as connection:
        for statement in IN_POSTGRESQL.split(";"):
            await connection.execute(text(statement))
        view = await find_table(connection, project, "emails")
        with pytest.raises(Refused, match=r"the view emails reads personal data: users\.email"):
            await refuse_personal_data(connection, view, project)
