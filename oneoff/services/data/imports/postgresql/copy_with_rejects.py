"""Import into PostgreSQL and reject bad rows, where possible by COPY directly into the target.

`import_with_rejects` chooses between `CopyWithRejects` and its base class `StagedImport`.
`CopyWithRejects` copies one chunk at a time. If COPY refuses a chunk, the chunk is rolled back to a
savepoint and inserted row by row. So a good file takes nearly the same time as without `--rejects`,
and a bad row slows down only its own chunk.

The result is the same as with staging tables only if each row is checked alone. This is not so if a
trigger could see the other rows of a chunk, or if a deferrable constraint waits for later rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff.core.outcome import RowCounts
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
    sqlstates.PROGRAM_LIMIT_EXCEEDED,
    sqlstates.INTERNAL_ERROR,
)
"""Classes of SQLSTATEs after which the rows are inserted one by one, to find the bad ones."""
# True for a plain table without rules, without the project's own triggers, and without constraints
# that are deferrable or refer to the table itself.
_CHECKED_ROW_BY_ROW = """
SELECT c.relkind = 'r' AND NOT c.relhasrules
    AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal)
    AND NOT EXISTS (
        SELECT FROM pg_constraint WHERE conrelid = c.oid AND (condeferrable OR confrelid = c.oid)
    )
FROM pg_class c WHERE c.oid = $1::text::regclass
"""
_COUNT_INSERTED = "SELECT pg_stat_get_xact_tuples_inserted($1::text::regclass)"
# Rows of a partition are counted for the partitioned table.
_COUNTED_TABLE = "SELECT coalesce(pg_partition_root($1::text::regclass), $1::text::regclass)::text"


class CopyWithRejects(StagedImport):
    """One import in the transaction of a run.

    Each chunk is copied into the target. If COPY refuses a chunk, it is loaded into the table of
    texts, as in `StagedImport`. From there its good rows are inserted into the target, and its bad
    rows into the table of errors. These tables are created for the first such chunk.
    """

    def __init__(
        self, work: WorkTransaction, driver: Any, plan: Plan, reader: Reader, rejects: Rejects
    ) -> None:
        super().__init__(driver, plan, reader, rejects, work)
        self._work: WorkTransaction = work
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
            # The server's statistics also count rows that were rolled back to a savepoint.
            name = await self._driver.fetchval(_COUNTED_TABLE, self._plan.table.quoted)
            rolled_back = await self._inserted() - before - changed
            self._work.exclude_rolled_back({name: RowCounts(inserted=rolled_back)})
        warnings = await move_sequences(self._driver, self._plan)
        return ImportSummary(self._total, changed, warnings=warnings)

    async def _inserted(self) -> int:
        count: int = await self._driver.fetchval(_COUNT_INSERTED, self._plan.table.quoted)
        return count

    async def _load_chunk(self, chunk: Chunk, first: int) -> None:
        """Copy a chunk into the target; if COPY refuses it, insert its rows one by one."""
        data = await in_daemon_thread(chunk.as_lines)
        # After an error PostgreSQL accepts no statement until a rollback. A rollback to the
        # savepoint keeps the rows of earlier chunks. Each savepoint is released, because open
        # savepoints slow down the following ones.
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
            # Without the privilege to write the table, each single row would fail too.
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
    """Import an entire file in the transaction of a run, and reject its bad rows."""
    driver = await driver_with_settings(work.connection)
    if await _can_copy(driver, plan, reader):
        return await CopyWithRejects(work, driver, plan, reader, rejects).run(advance)
    return await StagedImport(driver, plan, reader, rejects, work).run(advance)


async def _can_copy(driver: Any, plan: Plan, reader: Reader) -> bool:
    """Return whether COPY into the target has the same result as the staging tables."""
    if plan.on_conflict != "error" or None in plan.columns or not isinstance(reader, CsvReader):
        return False
    return bool(await driver.fetchval(_CHECKED_ROW_BY_ROW, plan.table.quoted))
