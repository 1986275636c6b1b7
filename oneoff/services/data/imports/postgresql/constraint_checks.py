"""Find staged rows that the target would refuse because of other rows: unique keys, references.

PostgreSQL's catalog stores the columns of a key as numbers. `ARRAY(SELECT a.attname ... ORDER BY
k.o)` converts them to names, in the order of the key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff.database import sqlstates
from oneoff.services.data.imports.postgresql.staging_table import (
    ERRORS_TABLE,
    NUMBER_COLUMN,
    STAGING_TABLE,
)
from oneoff.services.data.tables import quote, quote_text

if TYPE_CHECKING:
    from oneoff.services.data.imports.plan import Plan

# The indexes that the staging table has copied from the target. `keeps`: the index can refuse rows.
# `computed`: it has expressions, which `columns` does not list.
_STAGING_INDEXES = f"""
SELECT i.indexrelid::regclass::text AS name, c.conname AS constraint_name,
       (i.indisunique OR i.indisexclusion) AS keeps, i.indexprs IS NOT NULL AS computed,
       ARRAY(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)) AS columns
FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.conrelid = i.indrelid
WHERE i.indrelid = 'pg_temp.{STAGING_TABLE}'::regclass
"""  # noqa: S608 - a constant
# The unique indexes of the target. The slice of indkey leaves out INCLUDE columns, which do not
# count for uniqueness. Partial indexes and indexes on expressions are left out: the INSERT into the
# target fails if they refuse a row.
_UNIQUE = """
SELECT i.indexrelid::regclass::text AS name, c.conname AS constraint_name,
       ARRAY(SELECT a.attname::text
             FROM unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY k(n, o)
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n
             ORDER BY k.o) AS columns
FROM pg_index i
LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.conrelid = i.indrelid
  AND c.contype IN ('p', 'u')
WHERE i.indrelid = $1::text::regclass AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL
"""
# References from the target to another table, or to itself (`own`). `columns` of the target refer
# to the columns `referred` of the table `other`.
_REFERENCES = """
SELECT c.conname AS constraint_name, c.confrelid::regclass::text AS other,
       c.confrelid = c.conrelid AS own,
       ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k(n, o)
             JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.n
             ORDER BY k.o) AS columns,
       ARRAY(SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY k(n, o)
             JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.n
             ORDER BY k.o) AS referred
FROM pg_constraint c WHERE c.conrelid = $1::text::regclass AND c.contype = 'f'
"""
# The condition of each partition that stores rows.
_PARTITIONS = """
SELECT pg_get_partition_constraintdef(relid)
FROM pg_partition_tree($1::text::regclass) WHERE isleaf AND relid <> $1::text::regclass
"""
# For each level of partitions, the columns that determine a row's partition. `computed`: an
# expression is part of the partition key.
_PARTITION_KEYS = """
SELECT ARRAY(SELECT a.attname::text FROM unnest(p.partattrs) WITH ORDINALITY k(n, o)
             JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = k.n
             ORDER BY k.o) AS columns,
       0 = ANY (p.partattrs) AS computed
FROM pg_partition_tree($1::text::regclass) t JOIN pg_partitioned_table p ON p.partrelid = t.relid
ORDER BY t.level
"""


class ConstraintChecks:
    """Finds rows of the staging table that the target would refuse."""

    def __init__(self, driver: Any, plan: Plan) -> None:
        self._driver, self._plan = driver, plan
        self._written = {column.name for column in plan.written}
        self._key = list(plan.key)

    async def prepare(self) -> None:
        """Drop the staging table's indexes, except those that find duplicates within the file."""
        for index in await self._driver.fetch(_STAGING_INDEXES):
            names = set(index["columns"])
            # With --on-conflict skip the file may contain a row twice; the second one is skipped.
            skipped = self._plan.on_conflict == "skip" and names == set(self._key)
            if index["keeps"] and (names <= self._written or index["computed"]) and not skipped:
                continue
            name = index["constraint_name"]
            drop = f"ALTER TABLE {STAGING_TABLE} DROP CONSTRAINT {quote(name)}" if name else ""
            await self._driver.execute(drop or f"DROP INDEX {index['name']}")

    async def run(self) -> None:
        """Move the rows that would be refused to the table of errors."""
        # Without statistics the planner would assume a tiny table, and join it row by row.
        await self._driver.execute(f"ANALYZE {STAGING_TABLE}")
        target = self._plan.table.quoted
        await self._check_partitions(target)
        for index in await self._driver.fetch(_UNIQUE, target):
            if set(index["columns"]) <= self._written:
                await self._check_unique(index)
        references = [
            reference
            for reference in await self._driver.fetch(_REFERENCES, target)
            if set(reference["columns"]) <= self._written
        ]
        for reference in references:
            await self._check_reference(reference)
        own = [reference for reference in references if reference["own"]]
        # Other rows of the file may refer to a row that was just moved, so repeat until none is
        # found.
        while sum([await self._check_reference(reference) for reference in own]):
            pass

    async def _check_partitions(self, target: str) -> None:
        """Find rows that no partition accepts, if the file has all columns of the partition key."""
        levels = await self._driver.fetch(_PARTITION_KEYS, target)
        known = not any(level["computed"] for level in levels)
        names = list(dict.fromkeys(name for level in levels for name in level["columns"]))
        needed = names if known else [column.name for column in self._plan.table.columns]
        if not levels or not set(needed) <= self._written:
            return
        rules = [rule for (rule,) in await self._driver.fetch(_PARTITIONS, target) if rule]
        accepted = " OR ".join(f"({rule})" for rule in rules) or "false"
        query = f"FROM {STAGING_TABLE} t WHERE ({accepted}) IS NOT TRUE"
        await self._move(
            query, sqlstates.CHECK_VIOLATION, names if known else [], "no partition accepts it"
        )

    async def _check_unique(self, index: Any) -> None:
        """Find rows whose value of a unique index already exists in the target."""
        if self._key and set(index["columns"]) == set(self._key):
            return  # such rows are skipped or updated
        target = self._plan.table.quoted
        query = f"FROM {STAGING_TABLE} t JOIN {target} g ON {_equal('t', 'g', index['columns'])}"
        if self._plan.on_conflict == "update":
            # The row that is updated may keep its own value.
            query += f" WHERE NOT ({_equal('t', 'g', self._key)})"
        elif self._plan.on_conflict == "skip":
            # A skipped row is not inserted, so it does not conflict with any row.
            same = _equal("t", "k", self._key)
            query += f" WHERE NOT EXISTS (SELECT FROM {target} k WHERE {same})"
        name = index["constraint_name"] or index["name"]
        await self._move(query, sqlstates.UNIQUE_VIOLATION, index["columns"], name)

    async def _check_reference(self, reference: Any) -> int:
        """Find rows whose referred row does not exist.

        If the target refers to itself, the referred row may also be in the file.
        """
        columns, referred = reference["columns"], reference["referred"]
        given = " AND ".join(f"t.{quote(name)} IS NOT NULL" for name in columns)
        query = f"FROM {STAGING_TABLE} t WHERE {given}"
        for other in (reference["other"], *([STAGING_TABLE] if reference["own"] else [])):
            same = _equal("t", "o", columns, referred)
            query += f" AND NOT EXISTS (SELECT FROM {other} o WHERE {same})"
        return await self._move(
            query, sqlstates.FOREIGN_KEY_VIOLATION, columns, reference["constraint_name"]
        )

    async def _move(self, query: str, state: str, columns: list[str], constraint: str) -> int:
        """Move the rows `t` of a FROM clause to the table of errors; return their number."""
        number = f"t.{quote(NUMBER_COLUMN)}"
        # All parts of one statement see the same snapshot, so the DELETE removes exactly the rows
        # that were noted. DISTINCT, because a join may return a row more than once.
        status: str = await self._driver.execute(
            f"WITH bad AS (SELECT DISTINCT {number} AS number {query}), "  # noqa: S608
            f"noted AS (INSERT INTO {ERRORS_TABLE} SELECT number, {quote_text(state)}, "
            f"ARRAY[{', '.join(map(quote_text, columns))}], {quote_text(constraint)} FROM bad) "
            f"DELETE FROM {STAGING_TABLE} t USING bad WHERE {number} = bad.number"
        )
        return int(status.rpartition(" ")[2])


def _equal(left: str, right: str, names: list[str], others: list[str] | None = None) -> str:
    pairs = zip(names, others or names, strict=True)
    return " AND ".join(f"{left}.{quote(a)} = {right}.{quote(b)}" for a, b in pairs)
