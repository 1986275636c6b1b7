"""Find the staged rows that the target refuses, by inserting them into it.

Only the table itself knows which rows it accepts: its defaults and triggers change a row before its
constraints check it. So after the INSERT of all staged rows has failed, `RefusedRows` inserts them
again, first many with one statement, and where that fails one by one. Then it rolls all of this
back, and moves the refused rows from the staging table to the table of errors.

A row that refers to another row of the table, which may come later in the file, waits for it. If
all other rows have been inserted, those that wait are inserted with one statement.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

from oneoff.services.data.imports.errors import DUPLICATE_IN_FILE
from oneoff.services.data.imports.insert_statement import insert_statement
from oneoff.services.data.imports.postgresql.chunk_function import CAUGHT, dollar_tag
from oneoff.services.data.imports.postgresql.staging_table import (
    ERRORS_TABLE,
    NUMBER_COLUMN,
    SAVEPOINT,
    STAGING_TABLE,
)
from oneoff.services.data.tables import quote, quote_text
from oneoff.utils.concurrency import in_daemon_thread

if TYPE_CHECKING:
    from oneoff.services.data.imports.plan import Plan

_FUNCTION_NAME = "pg_temp.oneoff_import_try"
_ROWS_A_STATEMENT = 1_000
_NUMBER = f"s.{quote(NUMBER_COLUMN)}"
_DELETE_REFUSED = f"DELETE FROM {STAGING_TABLE} s USING {ERRORS_TABLE} e WHERE {_NUMBER} = e.number"  # noqa: S608
_OF_CHUNK = f"""WHERE {_NUMBER} BETWEEN oneoff_chunk.first AND oneoff_chunk.last
    AND (NOT oneoff_waiting
         OR {_NUMBER} IN (SELECT e.number FROM {ERRORS_TABLE} e WHERE e.waits))"""  # noqa: S608
_OF_ROW = f"WHERE {_NUMBER} = oneoff_row.number"
_COLUMNS = "number, state, columns, constraint_name"
# Insert the staged rows; return how many were inserted. `oneoff_waiting`: only the rows that wait,
# all with one statement, because they may refer to one another. The variables have names that no
# column of a project has.
# COLUMN_NAME is empty for a violated unique key, exclusion, reference or partition. Their columns
# are only in DETAIL, as `(a, b)=(1, 2)` or `(a, b) = (1, 2)`, which is not translated.
_FUNCTION = f"""
CREATE OR REPLACE FUNCTION {_FUNCTION_NAME}(oneoff_waiting boolean) RETURNS bigint
LANGUAGE plpgsql AS %(tag)s
#variable_conflict use_column
DECLARE oneoff_chunk record; oneoff_row record; oneoff_state text; oneoff_names text[];
    oneoff_column text; oneoff_constraint text; oneoff_detail text; oneoff_inserted bigint := 0;
    oneoff_count bigint; oneoff_last bigint; oneoff_step bigint;
BEGIN
    SELECT max({_NUMBER}) INTO oneoff_last FROM {STAGING_TABLE} s;
    oneoff_step := CASE WHEN oneoff_waiting THEN oneoff_last + 1 ELSE {_ROWS_A_STATEMENT} END;
    FOR oneoff_chunk IN SELECT g AS first, g + oneoff_step - 1 AS last
        FROM generate_series(0, oneoff_last, oneoff_step) g
    LOOP
        BEGIN
            %(rows)s;
            GET DIAGNOSTICS oneoff_count = ROW_COUNT;
            IF oneoff_waiting THEN
                DELETE FROM {ERRORS_TABLE} e WHERE e.waits
                    AND e.number BETWEEN oneoff_chunk.first AND oneoff_chunk.last;
            END IF;
            oneoff_inserted := oneoff_inserted + oneoff_count;
            CONTINUE;
        EXCEPTION WHEN {CAUGHT} OR cardinality_violation THEN NULL;
        END;
        FOR oneoff_row IN SELECT {_NUMBER} AS number FROM {STAGING_TABLE} s
            {_OF_CHUNK} ORDER BY 1
        LOOP
            BEGIN
                DELETE FROM {ERRORS_TABLE} e WHERE e.number = oneoff_row.number;
                %(row)s;
                oneoff_inserted := oneoff_inserted + 1;
            EXCEPTION WHEN {CAUGHT} THEN
                GET STACKED DIAGNOSTICS oneoff_state = RETURNED_SQLSTATE,
                    oneoff_column = COLUMN_NAME, oneoff_constraint = CONSTRAINT_NAME,
                    oneoff_detail = PG_EXCEPTION_DETAIL;
                oneoff_names := '{{}}';
                IF oneoff_column <> '' THEN oneoff_names := ARRAY[oneoff_column];
                ELSIF left(oneoff_state, 2) = '23' AND oneoff_detail ~ '\\) ?= ?\\(' THEN
                    oneoff_names := string_to_array(replace(substring(
                        oneoff_detail FROM '\\((.*?)\\) ?= ?\\('), '"', ''), ', ');
                END IF;
                IF oneoff_state = '23514' AND oneoff_constraint = '' THEN
                    oneoff_constraint := 'no partition accepts it';
                END IF;
                DELETE FROM {ERRORS_TABLE} e WHERE e.number = oneoff_row.number;
                INSERT INTO {ERRORS_TABLE} ({_COLUMNS}, waits) VALUES (
                    oneoff_row.number, oneoff_state, oneoff_names, oneoff_constraint,
                    oneoff_state = '23503' AND oneoff_constraint = ANY (%(own)s));
            END;
        END LOOP;
    END LOOP;
    RETURN oneoff_inserted;
END %(tag)s
"""  # noqa: S608 - constants
# References from the target to itself, also of its partitions. `complete`: MATCH FULL, which
# refuses a reference that is NULL in a part.
_OWN_REFERENCES = """
SELECT c.conname::text AS name, c.confmatchtype = 'f' AS complete,
       ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k(n, o)
             JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.n
             ORDER BY k.o) AS columns,
       ARRAY(SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY k(n, o)
             JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.n
             ORDER BY k.o) AS referred
FROM pg_constraint c
WHERE c.contype = 'f' AND coalesce(pg_partition_root(c.conrelid), c.conrelid)
                        = coalesce(pg_partition_root(c.confrelid), c.confrelid)
  AND $1::text::regclass IN (c.conrelid, pg_partition_root(c.conrelid))
"""
# Whether a unique index of exactly the columns $2 treats two NULLs as equal (PostgreSQL 15).
_NULLS_ARE_EQUAL = """
SELECT EXISTS (
    SELECT FROM pg_index i
    WHERE i.indrelid = $1::text::regclass AND i.indisunique
      AND to_jsonb(i) ->> 'indnullsnotdistinct' = 'true'
      AND ARRAY(SELECT a.attname::text FROM pg_attribute a
                WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
                ORDER BY a.attname::text COLLATE "C") = $2::text[]
)
"""


class RefusedRows:
    """Finds the refused rows of one import in the transaction of a connection."""

    def __init__(self, driver: Any, plan: Plan) -> None:
        self._driver, self._plan = driver, plan

    async def move(self) -> None:
        """Move the rows that the target refuses to the table of errors."""
        await self._move_duplicates()
        for table, number in ((STAGING_TABLE, quote(NUMBER_COLUMN)), (ERRORS_TABLE, "number")):
            await self._driver.execute(f"CREATE INDEX ON {table} ({number})")
        await self._driver.execute(f"ANALYZE {STAGING_TABLE}")
        # The rollback would remove the errors that were found, so they are kept in a file.
        with tempfile.TemporaryFile(prefix="oneoff-import-") as errors:
            await self._driver.execute(f"SAVEPOINT {SAVEPOINT}")
            await self._try()
            await self._driver.copy_from_query(
                f"SELECT {_COLUMNS} FROM {ERRORS_TABLE}",  # noqa: S608 - constants
                output=errors,
                format="binary",
            )
            await self._driver.execute(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
            await self._driver.execute(f"RELEASE SAVEPOINT {SAVEPOINT}")
            await self._driver.execute(f"TRUNCATE {ERRORS_TABLE}")
            await in_daemon_thread(lambda: errors.seek(0))
            await self._driver.copy_to_table(
                ERRORS_TABLE, source=errors, columns=_COLUMNS.split(", "), format="binary"
            )
        await self._driver.execute(_DELETE_REFUSED)

    async def _move_duplicates(self) -> None:
        """Move rows whose key an earlier row has, for an update: one by one, each would succeed."""
        if self._plan.on_conflict != "update":
            return
        target = self._plan.table.quoted
        keys = [f"s.{quote(name)}" for name in self._plan.key]
        given = " AND ".join(f"{key} IS NOT NULL" for key in keys)
        if await self._driver.fetchval(_NULLS_ARE_EQUAL, target, sorted(self._plan.key)):
            given = "true"
        names = f"ARRAY[{', '.join(map(quote_text, self._plan.key))}]"
        await self._driver.execute(
            f"""
            WITH twice AS (
                DELETE FROM {STAGING_TABLE} d USING (
                    SELECT {_NUMBER} AS number, row_number() OVER (
                        PARTITION BY {", ".join(keys)} ORDER BY {_NUMBER}
                    ) AS at
                    FROM {STAGING_TABLE} s WHERE {given}
                ) n WHERE n.at > 1 AND d.{quote(NUMBER_COLUMN)} = n.number
                RETURNING n.number
            )
            INSERT INTO {ERRORS_TABLE} ({_COLUMNS})
            SELECT number, {quote_text(DUPLICATE_IN_FILE)}, {names}, '' FROM twice
            """  # noqa: S608 - quoted
        )

    async def _try(self) -> None:
        """Insert the rows into the target, as far as it accepts them."""
        own = await self._driver.fetch(_OWN_REFERENCES, self._plan.table.quoted)
        await self._driver.execute(self._function([reference["name"] for reference in own]))
        # A deferred constraint would be checked only at the end, without naming a row.
        await self._driver.execute("SET CONSTRAINTS ALL IMMEDIATE")
        await self._driver.execute(f"SELECT {_FUNCTION_NAME}(false)")
        waiting = bool(own)
        while waiting:
            # Each round may find that the referred row of further rows is missing.
            while sum([await self._stop_waiting(reference) for reference in own]):
                pass
            waiting = await self._driver.fetchval(f"SELECT {_FUNCTION_NAME}(true)") > 0

    async def _stop_waiting(self, reference: Any) -> int:
        """Let rows wait no longer if their referred row is neither in the target nor waits."""
        columns, referred = reference["columns"], reference["referred"]
        if not set(columns) <= {column.name for column in self._plan.written}:
            return 0
        values = ", ".join(f"s.{quote(name)}" for name in columns)
        given = f"num_nulls({values}) = 0"
        if reference["complete"]:
            given = f"num_nonnulls({values}) > 0"
        same = " AND ".join(
            f"s.{quote(name)} = o.{quote(other)}"
            for name, other in zip(columns, referred, strict=True)
        )
        # Without the referred columns in the file, any waiting row may be the referred one.
        is_known = set(referred) <= {column.name for column in self._plan.written}
        status: str = await self._driver.execute(
            f"""
            UPDATE {ERRORS_TABLE} e SET waits = false FROM {STAGING_TABLE} s
            WHERE e.waits AND e.number = {_NUMBER} AND {given}
              AND NOT EXISTS (SELECT FROM {self._plan.table.quoted} o WHERE {same})
              AND NOT EXISTS (
                  SELECT FROM {STAGING_TABLE} o
                  JOIN {ERRORS_TABLE} w ON w.waits AND w.number = o.{quote(NUMBER_COLUMN)}
                  WHERE {same if is_known else "true"}
              )
            """  # noqa: S608 - quoted
        )
        return int(status.rpartition(" ")[2])

    def _function(self, own: list[str]) -> str:
        names = f"ARRAY[{', '.join(map(quote_text, own))}]::text[]"
        parts = {"rows": self._insert(_OF_CHUNK), "row": self._insert(_OF_ROW), "own": names}
        return _FUNCTION % (parts | {"tag": dollar_tag("".join(parts.values()))})

    def _insert(self, where: str) -> str:
        values = ", ".join(f"s.{quote(column.name)}" for column in self._plan.written)
        rows = f"SELECT {values} FROM {STAGING_TABLE} s {where}"  # noqa: S608 - quoted
        return insert_statement(self._plan, rows)
