"""Move sequences past the imported values. Otherwise the next INSERT would get an existing key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff.services.data.columns import Kind
from oneoff.services.data.tables import quote

if TYPE_CHECKING:
    from oneoff.services.data.imports.plan import Plan

# The sequence that belongs to the column $2 of the table $1, if it counts upwards.
_SEQUENCE = """
SELECT s.name, has_sequence_privilege(s.name, 'UPDATE') AS allowed
FROM (SELECT pg_get_serial_sequence($1, $2) AS name) s
JOIN pg_sequence p ON p.seqrelid = s.name::regclass
WHERE p.seqincrement > 0
"""
# Move it only forward, because the application may have used higher numbers in the meantime, and
# only within its bounds, because setval() refuses other values.
_MOVE = """
SELECT setval('{sequence}', m.most)
FROM (SELECT max({column}) AS most FROM {table}) m
JOIN pg_sequence p ON p.seqrelid = '{sequence}'::regclass
WHERE m.most BETWEEN p.seqmin AND p.seqmax
  AND m.most > coalesce(pg_sequence_last_value(p.seqrelid), p.seqmin - 1)
"""


async def move_sequences(driver: Any, plan: Plan) -> list[str]:
    """Move the sequences of the serial and identity columns for which the file has values.

    Sequences are not part of the transaction: a run that is rolled back leaves a gap.

    Returns:
        Warnings about sequences that the role has no permission to change.
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
                f"the sequence of {column.name} was not moved: the role has no UPDATE privilege"
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
