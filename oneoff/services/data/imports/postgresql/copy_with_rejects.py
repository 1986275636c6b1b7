"""A csv file into PostgreSQL without its bad rows: COPY chunk by chunk into the table itself.

A chunk that COPY refuses is taken back, and gone through row by row. So a good file costs little
more than without `--rejects`, and a bad row no more than its chunk. It gives the same as the way by
a staging table only where rows are checked one by one: not if a trigger might see a chunk, or a
constraint waits for later rows of the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff.database.errors import sqlstate_of
from oneoff.services.data.imports.plan import STAGING
from oneoff.services.data.imports.postgresql.copy_csv import driver_of
from oneoff.services.data.imports.postgresql.sequences import move_sequences
from oneoff.services.data.imports.postgresql.staged_import import StagedImport, once
from oneoff.services.data.imports.readers.base import CsvReader
from oneoff.services.data.imports.readers.csv_reader import lines_of
from oneoff.services.data.imports.request import Imported
from oneoff.utils.concurrency import in_daemon_thread

if TYPE_CHECKING:
    from oneoff.database.transaction import WorkTransaction
    from oneoff.services.data.imports.plan import Plan
    from oneoff.services.data.imports.readers.base import Advance, Reader
    from oneoff.services.data.imports.readers.csv_reader import Chunk
    from oneoff.services.data.imports.rejects import Rejects

_OF_ONE_ROW = ("22", "23", "42", "0A")
"""Classes of SQLSTATE after which the rows are tried one by one, which tells more."""
_NO_PRIVILEGE = "42501"
"""What COPY says of a table that the role may not write: each row alone would meet it too."""
_CHECKED_ROW_BY_ROW = """
SELECT c.relkind = 'r' AND NOT c.relhasrules
    AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal)
    AND NOT EXISTS (
        SELECT FROM pg_constraint WHERE conrelid = c.oid AND (condeferrable OR confrelid = c.oid)
    )
FROM pg_class c WHERE c.oid = $1::text::regclass
"""
_INSERTED = "SELECT pg_stat_get_xact_tuples_inserted($1::text::regclass)"
_NAME = "SELECT coalesce(pg_partition_root($1::text::regclass), $1::text::regclass)::text"


class DirectImport(StagedImport):
    """One import, in the transaction of a run."""

    def __init__(
        self, work: WorkTransaction, driver: Any, plan: Plan, reader: Reader, rejects: Rejects
    ) -> None:
        super().__init__(driver, plan, reader, rejects)
        self._work = work
        self._schema, self._table = plan.table.place
        self._names = [column.name for column in plan.written]
        self._slow = False

    async def run(self, advance: Advance) -> Imported:
        """Import all rows of the reader."""
        before = await self._inserted()
        await self._stage_all(advance)
        changed = self._total
        if self._slow:
            await self._take_bad()
            changed -= self._rejects.count
            await self._clean_up()
            # What was taken back is in the server's numbers all the same.
            name = await self._driver.fetchval(_NAME, self._plan.table.quoted)
            self._work.discount(name, await self._inserted() - before - changed)
        warnings = await move_sequences(self._driver, self._plan)
        return Imported(self._total, changed, warnings=warnings)

    async def _inserted(self) -> int:
        count: int = await self._driver.fetchval(_INSERTED, self._plan.table.quoted)
        return count

    async def _stage(self, chunk: Chunk, first: int) -> None:
        data = await in_daemon_thread(lambda: lines_of(chunk))
        await self._driver.execute(f"SAVEPOINT {STAGING}")
        try:
            await self._driver.copy_to_table(
                self._table,
                schema_name=self._schema,
                columns=self._names,
                source=once(data),
                format="csv",
            )
        except Exception as exc:
            state = sqlstate_of(exc)
            if state == _NO_PRIVILEGE or not state.startswith(_OF_ONE_ROW):
                raise
            await self._driver.execute(f"ROLLBACK TO SAVEPOINT {STAGING}")
            await self._one_by_one(chunk, first)
        await self._driver.execute(f"RELEASE SAVEPOINT {STAGING}")

    async def _one_by_one(self, chunk: Chunk, first: int) -> None:
        if not self._slow:
            self._slow = True
            await self._prepare(direct=True)
        await super()._stage(chunk, first)


async def import_directly(
    work: WorkTransaction, plan: Plan, reader: Reader, rejects: Rejects, advance: Advance
) -> Imported | None:
    """Import a whole file in the transaction of a run.

    Returns:
        None where that would not give the same as by way of a staging table.
    """
    if plan.on_conflict != "error" or None in plan.columns or not isinstance(reader, CsvReader):
        return None
    driver = await driver_of(work.connection)
    if not await driver.fetchval(_CHECKED_ROW_BY_ROW, plan.table.quoted):
        return None
    return await DirectImport(work, driver, plan, reader, rejects).run(advance)
