"""Check a SQLite table's references to itself at the end of an import.

A row of the file may refer to a later row, but SQLite checks references when a row is written.
With `PRAGMA defer_foreign_keys` it checks them at the commit, but then it only reports that a
reference fails, not which row is wrong. So the import checks the references itself before it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from oneoff.database import sqlstates
from oneoff.services.data.imports.errors import Problem, bad_rows, problem_of
from oneoff.services.data.tables import quote

if TYPE_CHECKING:
    from oneoff.services.data.imports.plan import Plan
    from oneoff.services.data.imports.readers.base import Reader

_REFERENCES = """
SELECT id, "from", lower("table") = lower(?) FROM pragma_foreign_key_list(?) ORDER BY id, seq
"""
_VIOLATIONS = "SELECT rowid, fkid FROM pragma_foreign_key_check(?)"


class SelfReferences:
    """The deferred references of a table that refers to itself.

    Args:
        driver: aiosqlite's connection.
        plan: What is imported.
        columns: The columns of each reference, by the reference's number.
        before: Violations that existed before the import: the rowid and the reference's number.
    """

    def __init__(
        self, driver: Any, plan: Plan, columns: dict[int, list[str]], before: set[tuple[int, int]]
    ) -> None:
        self._driver, self._plan = driver, plan
        self._columns, self._before = columns, before

    @classmethod
    async def of(cls, driver: Any, plan: Plan) -> Self | None:
        """Defer the references of the plan's table; return None if it has none to itself."""
        table = plan.table.schema_and_name[1]
        columns: dict[int, list[str]] = {}
        has_own = False
        for number, name, own in await driver.execute_fetchall(_REFERENCES, (table, table)):
            columns.setdefault(number, []).append(name)
            has_own = has_own or bool(own)
        if not has_own:
            return None
        # If foreign keys were off earlier, the table may already contain violations. The import
        # must not report them.
        before = {tuple(row) for row in await driver.execute_fetchall(_VIOLATIONS, (table,))}
        await driver.execute("PRAGMA defer_foreign_keys=ON")
        return cls(driver, plan, columns, before)

    async def check(self, reader: Reader) -> None:
        """Check the references of the imported rows.

        Raises:
            DataError: A row refers to a row that does not exist.
        """
        table = self._plan.table
        found = await self._driver.execute_fetchall(_VIOLATIONS, (table.schema_and_name[1],))
        for row, number in found:
            if (row, number) not in self._before:
                names = self._columns.get(number, [])
                values = ", ".join(map(quote, names)) or "NULL"
                query = f"SELECT {values} FROM {table.quoted} WHERE rowid = ?"  # noqa: S608 - quoted
                ((*given,),) = await self._driver.execute_fetchall(query, (row,))
                raise bad_rows(reader.source.name, [self._problem(reader, names, given)])

    def _problem(self, reader: Reader, names: list[str], given: list[Any]) -> Problem:
        texts = [str(value) for value in given]
        positions = self._plan.positions(names)
        # The failing value may come from a column's default. Then no line of the file has it.
        line = self._line(reader, positions, texts) if len(positions) == len(names) > 0 else 0
        return problem_of(
            sqlstates.FOREIGN_KEY_VIOLATION, self._plan.written_at(positions), texts, line=line
        )

    def _line(self, reader: Reader, positions: list[int], texts: list[str]) -> int:
        """Return the line of the first row with these values; 0 if there is none."""
        for chunk in reader.chunks():
            parsed = reader.parse(chunk, self._plan)
            rows = zip(*(parsed.columns[position] for position in positions), strict=True)
            for at, row in zip(parsed.indexes, rows, strict=True):
                if list(row) == texts:
                    return chunk.raw_row(at).line
        return 0
