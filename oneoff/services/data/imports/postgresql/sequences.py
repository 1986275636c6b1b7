"""Move sequences past the imported values. Otherwise the next INSERT would get an existing key."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from oneoff.services.data.columns import Kind
from oneoff.services.data.tables import quote, quote_text

if TYPE_CHECKING:
    from oneoff.services.data.imports.plan import Plan

# The sequences that number the columns $2 of the table $1: one that belongs to the column, those
# that its default uses, also through the default of a domain, and the one that its model names ($3,
# in the order of $2). `expression` is the default. `sequence` is NULL if the default calls
# nextval() with a text, which it looks up each time: the catalog does not record such a use.
_SEQUENCES = """
WITH defaults AS (
    SELECT a.attname, a.attnum, d.oid AS attrdef,
           CASE WHEN d.oid IS NULL THEN t.oid END AS domain, c.model_sequence,
           CASE WHEN d.oid IS NULL THEN t.typdefault
                ELSE pg_get_expr(d.adbin, d.adrelid) END AS expression
    FROM unnest($2::text[], $3::text[]) c (name, model_sequence)
    JOIN pg_attribute a ON a.attrelid = $1::text::regclass AND a.attname = c.name
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
), found AS (
    SELECT attname, expression, s.oid
    FROM defaults
    JOIN pg_depend p ON (p.classid, p.objid) IN (
        ('pg_attrdef'::regclass, attrdef), ('pg_type'::regclass, domain)
    ) AND p.refclassid = 'pg_class'::regclass
    JOIN pg_class s ON s.oid = p.refobjid AND s.relkind = 'S'
    UNION
    SELECT attname, expression, s.oid
    FROM defaults
    JOIN pg_depend p ON p.classid = 'pg_class'::regclass AND p.refclassid = 'pg_class'::regclass
        AND p.refobjid = $1::text::regclass AND p.refobjsubid = attnum
    JOIN pg_class s ON s.oid = p.objid AND s.relkind = 'S'
    UNION
    SELECT attname, expression, to_regclass(model_sequence)
    FROM defaults WHERE to_regclass(model_sequence) IS NOT NULL
)
SELECT attname AS column, expression, oid::regclass::text AS sequence,
       has_sequence_privilege(oid, 'UPDATE') AS allowed, seqincrement > 0 AS upwards
FROM found JOIN pg_sequence ON seqrelid = oid
UNION ALL
SELECT attname, expression, NULL, false, true
FROM defaults
WHERE expression ~* '\\mnextval\\(' AND attname NOT IN (SELECT attname FROM found)
ORDER BY 1, 3
"""
# Move it only in its own direction, and only within its bounds, because setval() refuses other
# values. The application may take numbers at the same time: setval() could then move the sequence
# back to numbers that were taken after this statement read it. nextval() can't, so it is called
# once for each number; a distance that is too long for this is not taken in a moment either.
_MOVE = """
SELECT CASE
    WHEN calls > {most_calls} THEN setval({sequence}, last::bigint)
    ELSE (SELECT max(nextval({sequence})) FROM generate_series(1, calls))
END
FROM (
    SELECT m.last, div(
        m.last - coalesce(pg_sequence_last_value(p.seqrelid)::numeric, p.seqstart::numeric
                          - p.seqincrement), p.seqincrement
    ) AS calls
    FROM (SELECT {last}({column})::numeric AS last FROM {table}) m
    JOIN pg_sequence p ON p.seqrelid = {sequence}::regclass
    WHERE m.last BETWEEN p.seqmin AND p.seqmax
) distance
WHERE calls > 0
"""
_MOST_CALLS = 100_000  # about 50 ms
_NEXT_VALUE = re.compile(r"nextval\('[^)]*'::regclass\)")
_NUMBERS = (Kind.INTEGER, Kind.NUMERIC)


async def move_sequences(driver: Any, plan: Plan) -> list[str]:
    """Move the sequences that number the columns for which the file has values.

    Sequences are not part of the transaction: a run that is rolled back leaves a gap.

    Returns:
        Warnings about sequences that could not be moved.
    """
    kinds = {column.name: column.kind for column in plan.written}
    of_models = [column.sequence or None for column in plan.written]
    warnings = []
    for row in await driver.fetch(_SEQUENCES, plan.table.quoted, list(kinds), of_models):
        problem = _problem(row, kinds[row["column"]])
        if problem:
            name = f"the sequence {row['sequence'] or ''}".strip()
            warnings.append(
                f"{name} of {row['column']} was not moved past the imported values: {problem}; "
                "move it with setval()"
            )
            continue
        await driver.execute(
            _MOVE.format(
                sequence=quote_text(row["sequence"]),
                column=quote(row["column"]),
                table=plan.table.quoted,
                last="max" if row["upwards"] else "min",
                most_calls=_MOST_CALLS,
            )
        )
    return warnings


def _problem(row: Any, kind: Kind) -> str:
    """Return why a sequence can't be moved; empty if it can."""
    default = row["expression"]
    if row["sequence"] is None:
        return f"the default {default} names it only when it is used"
    if not row["allowed"]:
        return "the role has no UPDATE privilege"
    # Another expression may compute the value from the number, so the value is not the number.
    is_number = default is None or _NEXT_VALUE.fullmatch(default)
    if kind not in _NUMBERS or not is_number:
        return f"the column's default is {default}"
    return ""
