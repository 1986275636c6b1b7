"""Create the temporary tables of an import into PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oneoff.services.data.imports.plan import Plan

STAGING_TABLE = "oneoff_import"
"""A table with the written columns of the target, into which the file is loaded first."""
NUMBER_COLUMN = "oneoff row"
"""The staging table's column for a row's number in the file; a name that no project uses."""
TEXTS_TABLE = f"{STAGING_TABLE}_rows"
"""The table for the texts of one chunk."""
ERRORS_TABLE = f"{STAGING_TABLE}_errors"
"""The table of the bad rows that have been found so far."""
SAVEPOINT = "oneoff_import"
ROW_SECURITY = "SELECT row_security_active($1::text::regclass)"
"""Whether row-level security is active for the role. COPY refuses to write such a table."""


def create_staging_table(plan: Plan) -> str:
    """Return the statement that creates a table with the written columns of the target.

    They have the types of the target, with length and domain, but no constraint: only the target
    itself can check a row, after its defaults and triggers have changed it.
    """
    return (
        f"CREATE TEMP TABLE {STAGING_TABLE} ON COMMIT DROP AS "  # noqa: S608 - quoted
        f"SELECT {plan.quoted_columns} FROM {plan.table.quoted} WITH NO DATA"
    )
