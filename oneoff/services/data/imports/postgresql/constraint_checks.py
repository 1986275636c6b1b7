"""What a staged import asks of other rows: is one there already, is one there to refer to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff.services.data.imports.plan import STAGING
from oneoff.services.data.tables import quote

if TYPE_CHECKING:
    from oneoff.services.data.imports.plan import Plan

_NUMBER = '"oneoff row"'
_ERRORS = f"{STAGING}_errors"
_OWN_INDEXES = """
SELECT i.indexrelid::regclass::text AS name, c.conname AS constraint_name,
       (i.indisunique OR i.indisexclusion) AS keeps, i.indexprs IS NOT NULL AS computed,
       ARRAY(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)) AS columns
FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.conrelid = i.indrelid
WHERE i.indrelid = 'pg_temp.oneoff_import'::regclass
"""
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
_PARTITIONS = """
SELECT pg_get_partition_constraintdef(relid)
FROM pg_partition_tree($1::text::regclass) WHERE isleaf AND relid <> $1::text::regclass
"""
_PARTED_BY = """
SELECT ARRAY(SELECT a.attname::text FROM unnest(p.partattrs) WITH ORDINALITY k(n, o)
             JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = k.n
             ORDER BY k.o) AS columns,
       0 = ANY (p.partattrs) AS computed
FROM pg_partition_tree($1::text::regclass) t JOIN pg_partitioned_table p ON p.partrelid = t.relid
ORDER BY t.level
"""


class Checks:
    """Finds rows of the staging table that the target would refuse."""

    def __init__(self, driver: Any, plan: Plan) -> None:
        self._driver, self._plan = driver, plan
        self._written = {column.name for column in plan.written}
        self._key = list(plan.key)

    async def prepare(self) -> None:
        """Keep those indexes of the staging table by which rows of the file exclude each other."""
        for index in await self._driver.fetch(_OWN_INDEXES):
            names = set(index["columns"])
            # To be skipped, a row may well stand in the file twice.
            skipped = self._plan.on_conflict == "skip" and names == set(self._key)
            if index["keeps"] and (names <= self._written or index["computed"]) and not skipped:
                continue
            name = index["constraint_name"]
            drop = f"ALTER TABLE {STAGING} DROP CONSTRAINT {quote(name)}" if name else ""
            await self._driver.execute(drop or f"DROP INDEX {index['name']}")

    async def run(self) -> None:
        """Move what is refused to the table of errors."""
        await self._driver.execute(f"ANALYZE {STAGING}")
        place = self._plan.table.quoted
        await self._partitions(place)
        for index in await self._driver.fetch(_UNIQUE, place):
            if set(index["columns"]) <= self._written:
                await self._conflicts(index)
        references = [
            reference
            for reference in await self._driver.fetch(_REFERENCES, place)
            if set(reference["columns"]) <= self._written
        ]
        for reference in references:
            await self._dangling(reference)
        own = [reference for reference in references if reference["own"]]
        # A row that is left out may be the one that others of the file refer to.
        while sum([await self._dangling(reference) for reference in own]):
            pass

    async def _partitions(self, place: str) -> None:
        """Find rows that no partition takes; not where it depends on what the file doesn't give."""
        levels = await self._driver.fetch(_PARTED_BY, place)
        known = not any(level["computed"] for level in levels)
        names = list(dict.fromkeys(name for level in levels for name in level["columns"]))
        asked = names if known else [column.name for column in self._plan.table.columns]
        if not levels or not set(asked) <= self._written:
            return
        rules = [rule for (rule,) in await self._driver.fetch(_PARTITIONS, place) if rule]
        fits = " OR ".join(f"({rule})" for rule in rules) or "false"
        query = f"FROM {STAGING} t WHERE ({fits}) IS NOT TRUE"
        await self._move(query, "23514", names if known else [], "no partition takes it")

    async def _conflicts(self, index: Any) -> None:
        if self._key and set(index["columns"]) == set(self._key):
            return  # these are skipped or updated
        target = self._plan.table.quoted
        query = f"FROM {STAGING} t JOIN {target} g ON {_equal('t', 'g', index['columns'])}"
        if self._plan.on_conflict == "update":
            # The row itself is no obstacle to its own update.
            query += f" WHERE NOT ({_equal('t', 'g', self._key)})"
        elif self._plan.on_conflict == "skip":
            same = _equal("t", "k", self._key)
            query += f" WHERE NOT EXISTS (SELECT FROM {target} k WHERE {same})"
        name = index["constraint_name"] or index["name"]
        await self._move(query, "23505", index["columns"], name)

    async def _dangling(self, reference: Any) -> int:
        columns, referred = reference["columns"], reference["referred"]
        given = " AND ".join(f"t.{quote(name)} IS NOT NULL" for name in columns)
        query = f"FROM {STAGING} t WHERE {given}"
        for other in (reference["other"], *([STAGING] if reference["own"] else [])):
            same = _equal("t", "o", columns, referred)
            query += f" AND NOT EXISTS (SELECT FROM {other} o WHERE {same})"
        return await self._move(query, "23503", columns, reference["constraint_name"])

    async def _move(self, query: str, state: str, columns: list[str], constraint: str) -> int:
        status: str = await self._driver.execute(
            f"WITH bad AS (SELECT DISTINCT t.{_NUMBER} AS number {query}), "  # noqa: S608
            f"noted AS (INSERT INTO {_ERRORS} SELECT number, {_text(state)}, "
            f"ARRAY[{', '.join(map(_text, columns))}], {_text(constraint)} FROM bad) "
            f"DELETE FROM {STAGING} t USING bad WHERE t.{_NUMBER} = bad.number"
        )
        return int(status.rpartition(" ")[2])


def _equal(left: str, right: str, names: list[str], others: list[str] | None = None) -> str:
    pairs = zip(names, others or names, strict=True)
    return " AND ".join(f"{left}.{quote(a)} = {right}.{quote(b)}" for a, b in pairs)


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
