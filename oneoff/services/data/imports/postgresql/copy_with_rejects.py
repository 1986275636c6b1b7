"""Import into PostgreSQL and reject bad rows: where possible by COPY into the target itself.

`import_with_rejects` chooses between `CopyWithRejects` here and `StagedImport`, its base class.
`CopyWithRejects` copies chunk by chunk. A chunk that COPY refuses is rolled back to a savepoint and
inserted row by row. So a good file is nearly as fast as without `--rejects`, and a bad row costs no
more than its chunk. The result is the same as with staging tables only where each row is checked
alone: not where a trigger could see the rows of a chunk, or a deferrable constraint waits for later
rows of the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff.database import sqlstates
from oneoff.database.errors import sqlstate_of
from oneoff.services.data.driver import copy_source, driver_with_settings
from oneoff.services.data.imports.postgresql.sequences import move_sequences
from oneoff.services.data.imports.postgresql.staged_import import StagedImport
from oneoff.services.data.imports.postgresql.staging_table import SAVEPOINT
from oneoff.services.data.imports.readers.csv_reader import CsvReader
from oneoff.services.data.imports.summary import ImportSummary
from oneoff.utils.concurrency import in_daemon_thread

if TYPE_CHECKING:
    from oneoff.database.transaction import WorkTransaction
    from oneoff.services.data.imports.plan import Plan
    from oneoff.services.data.imports.readers.base import Advance, Chunk, Reader
    from oneoff.services.data.imports.rejects import Rejects

_TRIED_ROW_BY_ROW = (
    sqlstates.DATA_EXCEPTION,
    sqlstates.INTEGRITY_CONSTRAINT_VIOLATION,
    sqlstates.SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION,
    sqlstates.FEATURE_NOT_SUPPORTED,
)
"""Classes of SQLSTATE after which the rows are inserted one by one, to find the bad ones."""
# A plain table without rules, without triggers of the project, and without constraints that are
# deferrable or refer to a row of the table itself.
_CHECKED_ROW_BY_ROW = """
SELECT c.relkind = 'r' AND NOT c.relhasrules
    AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal)
    AND NOT EXISTS (
        SELECT FROM pg_constraint WHERE conrelid = c.oid AND (condeferrable OR confrelid = c.oid)
    )
FROM pg_class c WHERE c.oid = $1::text::regclass
"""
_COUNT_INSERTED = "SELECT pg_stat_get_xact_tuples_inserted($1::text::regclass)"
_COUNTED_TABLE = "SELECT coalesce(pg_partition_root($1::text::regclass), $1::text::regclass)::text"


class CopyWithRejects(StagedImport):
    """One import, in the transaction of a run.

    A chunk goes into the target. Only one that COPY refuses goes the way of `StagedImport`: through
    the table of texts, but then into the target too, and its bad rows into the table of errors.
    These tables are created for the first such chunk.
    """

    def __init__(
        self, work: WorkTransaction, driver: Any, plan: Plan, reader: Reader, rejects: Rejects
    ) -> None:
        super().__init__(driver, plan, reader, rejects)
        self._work = work
        self._schema, self._table = plan.table.schema_and_name
        self._names = [column.name for column in plan.written]
        self._has_tables = False

    async def run(self, advance: Advance) -> ImportSummary:
        """Import all rows of the reader."""
        before = await self._inserted()
        await self._load_all(advance)
        changed = self._total
        if self._has_tables:
            await self._reject_bad_rows()
            changed -= self._rejects.count
            await self._drop_tables()
            # The server's statistics count rows that were rolled back to a savepoint too.
            name = await self._driver.fetchval(_COUNTED_TABLE, self._plan.table.quoted)
            self._work.exclude_rolled_back(name, await self._inserted() - before - changed)
        warnings = await move_sequences(self._driver, self._plan)
        return ImportSummary(self._total, changed, warnings=warnings)

    async def _inserted(self) -> int:
        count: int = await self._driver.fetchval(_COUNT_INSERTED, self._plan.table.quoted)
        return count

    async def _load_chunk(self, chunk: Chunk, first: int) -> None:
        """Copy a chunk into the target; if COPY refuses it, insert its rows one by one."""
        data = await in_daemon_thread(chunk.as_lines)
        # After an error PostgreSQL takes no statement until a rollback: to the savepoint, so that
        # the rows of earlier chunks stay. Released each time: open savepoints slow down the others.
        await self._driver.execute(f"SAVEPOINT {SAVEPOINT}")
        try:
            await self._driver.copy_to_table(
                self._table,
                schema_name=self._schema,
                columns=self._names,
                source=copy_source(data),
                format="csv",
            )
        except Exception as exc:
            state = sqlstate_of(exc)
            # Without the privilege to write the table, each row by itself would fail too.
            denied = state == sqlstates.INSUFFICIENT_PRIVILEGE
            if denied or not state.startswith(_TRIED_ROW_BY_ROW):
                raise
            await self._driver.execute(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
            if not self._has_tables:
                self._has_tables = True
                await self._create_tables(into_target=True)
            await super()._load_chunk(chunk, first)
        await self._driver.execute(f"RELEASE SAVEPOINT {SAVEPOINT}")


async def import_with_rejects(
    work: WorkTransaction, plan: Plan, reader: Reader, rejects: Rejects, advance: Advance
) -> ImportSummary:
    """Import a whole file in the transaction of a run, and reject its bad rows."""
    driver = await driver_with_settings(work.connection)
    if await _can_copy(driver, plan, reader):
        return await CopyWithRejects(work, driver, plan, reader, rejects).run(advance)
    return await StagedImport(driver, plan, reader, rejects).run(advance)


async def _can_copy(driver: Any, plan: Plan, reader: Reader) -> bool:
    """Return whether COPY into the target has the same result as the staging tables."""
    if plan.on_conflict != "error" or None in plan.columns or not isinstance(reader, CsvReader):
        return False
    return bool(await driver.fetchval(_CHECKED_ROW_BY_ROW, plan.table.quoted))
