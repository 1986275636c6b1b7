"""Create the temporary tables of an import into PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff.services.data.tables import quote

if TYPE_CHECKING:
    from oneoff.services.data.imports.plan import Plan

STAGING_TABLE = "oneoff_import"
"""A table like the target, into which the rows of the file are loaded first."""
NUMBER_COLUMN = "oneoff row"
"""The staging table's column for a row's number in the file; a name that no project uses."""
TEXTS_TABLE = f"{STAGING_TABLE}_rows"
"""The table for the texts of one chunk."""
ERRORS_TABLE = f"{STAGING_TABLE}_errors"
"""The table of the bad rows that have been found so far."""
SAVEPOINT = "oneoff_import"


def create_staging_table(plan: Plan, including: str = "") -> str:
    """Return the statement that creates a table like the target.

    It has the target's NOT NULL and CHECK constraints, so that COPY reports a violation with its
    line. It has none of the target's defaults, triggers and references.
    """
    return (
        f"CREATE TEMP TABLE {STAGING_TABLE} (LIKE {plan.table.quoted} "
        f"INCLUDING CONSTRAINTS{including}) ON COMMIT DROP"
    )


async def drop_not_null(driver: Any, plan: Plan) -> None:
    """Drop NOT NULL in the staging table from columns that the import does not write.

    The INSERT into the target computes their defaults. A primary key that contains such a column
    must be dropped first.
    """
    written = {column.name for column in plan.written}
    actions = [
        f"ALTER COLUMN {quote(column.name)} DROP NOT NULL"
        for column in plan.table.columns
        if column.name not in written and not column.nullable
    ]
    if actions:
        await driver.execute(f"ALTER TABLE {STAGING_TABLE} {', '.join(actions)}")
