"""Move sequences past the imported values: else the next INSERT would get an existing key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff.services.data.columns import Kind
from oneoff.services.data.tables import quote

if TYPE_CHECKING:
    from oneoff.services.data.imports.plan import Plan

_SEQUENCE = """
SELECT s.name, has_sequence_privilege(s.name, 'UPDATE') AS allowed
FROM (SELECT pg_get_serial_sequence($1, $2) AS name) s
JOIN pg_sequence p ON p.seqrelid = s.name::regclass
WHERE p.seqincrement > 0
"""
# Only forward, and only within its bounds: an application may have drawn numbers meanwhile, and
# setval() refuses others.
_MOVE = """
SELECT setval('{sequence}', m.most)
FROM (SELECT max({column}) AS most FROM {table}) m
JOIN pg_sequence p ON p.seqrelid = '{sequence}'::regclass
WHERE m.most BETWEEN p.seqmin AND p.seqmax
  AND m.most > coalesce(pg_sequence_last_value(p.seqrelid), p.seqmin - 1)
"""


async def move_sequences(driver: Any, plan: Plan) -> list[str]:
    """Move the sequences of serial and identity columns that the file gave values for.

    Sequences don't take part in transactions: a run that is rolled back leaves a gap.

    Returns:
        Warnings, of sequences that the role may not change.
    """
    warnings = []
    for column in plan.written:
        if column.kind is not Kind.INTEGER or not (column.identity or column.has_default):
            continue
        row = await driver.fetchrow(_SEQUENCE, plan.table.quoted, column.name)
        if row is None:
            continue
        if not row["allowed"]:
            warnings.append(
                f"the sequence of {column.name} was not moved: the database's role may not"
            )
            continue
        await driver.execute(
            _MOVE.format(
                sequence=row["name"].replace("'", "''"),
                column=quote(column.name),
                table=plan.table.quoted,
            )
        )
    return warnings
