"""Rows of a SQLite table that refer to others of it: a file may name the later one first.

SQLite checks each row when it is written, unless it is told to wait for the commit; that comes
after the import has ended, so it is looked at here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from oneoff.services.data.imports.errors import Problem, bad_rows, problem_of
from oneoff.services.data.tables import quote

if TYPE_CHECKING:
    from oneoff.services.data.imports.plan import Plan
    from oneoff.services.data.imports.readers.base import Reader

_REFERENCES = """
SELECT id, "from", lower("table") = lower(?1) FROM pragma_foreign_key_list(?1) ORDER BY id, seq
"""
_DANGLING = "SELECT rowid, fkid FROM pragma_foreign_key_check(?)"


class OwnReferences:
    """The references of a table that has some to itself: all of them wait then."""

    def __init__(
        self, driver: Any, plan: Plan, columns: dict[int, list[str]], before: set[tuple[int, int]]
    ) -> None:
        self._driver, self._plan = driver, plan
        self._columns, self._before = columns, before

    @classmethod
    async def of(cls, driver: Any, plan: Plan) -> Self | None:
        """Let references wait, where the table has any to itself; None where it has none."""
        table = plan.table.place[1]
        columns: dict[int, list[str]] = {}
        has_own = False
        for number, name, own in await driver.execute_fetchall(_REFERENCES, (table,)):
            columns.setdefault(number, []).append(name)
            has_own = has_own or bool(own)
        if not has_own:
            return None
        before = {tuple(row) for row in await driver.execute_fetchall(_DANGLING, (table,))}
        await driver.execute("PRAGMA defer_foreign_keys=ON")
        return cls(driver, plan, columns, before)

    async def check(self, reader: Reader) -> None:
        """Refuse rows that refer to none.

        Raises:
            DataError: There are some.
        """
        table = self._plan.table
        found = await self._driver.execute_fetchall(_DANGLING, (table.place[1],))
        for row, number in found:
            if (row, number) not in self._before:
                names = self._columns.get(number, [])
                values = ", ".join(map(quote, names)) or "NULL"
                query = f"SELECT {values} FROM {table.quoted} WHERE rowid = ?"  # noqa: S608 - quoted
                ((*given,),) = await self._driver.execute_fetchall(query, (row,))
                raise bad_rows(reader.source.name, [self._problem(reader, names, given)])

    def _problem(self, reader: Reader, names: list[str], given: list[Any]) -> Problem:
        texts = [str(value) for value in given]
        columns = [c for name in names for c in self._plan.written if c.name == name]
        line = self._line(reader, names, texts) if names else 0
        return problem_of("23503", columns, texts, line=line)

    def _line(self, reader: Reader, names: list[str], texts: list[str]) -> int:
        """Return the line of the first row with these values."""
        at = [reader.names.index(name) for name in names]
        for chunk in reader.chunks():
            parsed = reader.parse(chunk, self._plan)
            rows = zip(*(parsed.columns[i] for i in at), strict=True)
            for place, row in zip(parsed.at, rows, strict=True):
                if list(row) == texts:
                    return chunk.record(place).line
        return 0
