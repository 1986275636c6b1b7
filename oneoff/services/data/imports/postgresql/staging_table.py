"""The temporary tables of an import into PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff.services.data.tables import quote

if TYPE_CHECKING:
    from oneoff.services.data.imports.plan import Plan

STAGING_TABLE = "oneoff_import"
"""Table like the target, which takes the rows of the file first."""
NUMBER_COLUMN = "oneoff row"
"""Its column for the number of a row in the file; a name that no project uses."""
TEXTS_TABLE = f"{STAGING_TABLE}_rows"
"""Table of the texts of one chunk."""
ERRORS_TABLE = f"{STAGING_TABLE}_errors"
"""Table of the bad rows that were found so far."""
SAVEPOINT = "oneoff_import"


def create_staging_table(plan: Plan, including: str = "") -> str:
    """Return the statement that makes a table like the target.

    It has the target's NOT NULL and CHECK, so that COPY meets them with the line at hand, but
    neither its defaults nor its triggers and references.
    """
    return (
        f"CREATE TEMP TABLE {STAGING_TABLE} (LIKE {plan.table.quoted} "
        f"INCLUDING CONSTRAINTS{including}) ON COMMIT DROP"
    )


async def drop_not_null(driver: Any, plan: Plan) -> None:
    """Let columns be NULL in the staging table that the file does not give.

    Their defaults are computed by the INSERT into the target. A primary key with such a column
    must have been dropped before.
    """
    written = {column.name for column in plan.written}
    actions = [
        f"ALTER COLUMN {quote(column.name)} DROP NOT NULL"
        for column in plan.table.columns
        if column.name not in written and not column.nullable
    ]
    if actions:
        await driver.execute(f"ALTER TABLE {STAGING_TABLE} {', '.join(actions)}")
