"""Run `data import --resume` in real processes that are killed."""

from __future__ import annotations

from pathlib import Path

from tests.support.batch_faults import Ordeal
from tests.support.database import query

TABLE = "CREATE TABLE IF NOT EXISTS loaded (n integer NOT NULL, what text)"
ANEW = "DELETE FROM loaded; DELETE FROM oneoff_batches; DELETE FROM oneoff_runs;"
LINE = ("data", "import", "loaded")
OPTIONS = ("--resume", "--batch-size", "200", "--confirm")


class ImportOrdeal(Ordeal):
    """One import into a table that accepts every row, even twice."""

    def verdict(self, rows: int) -> tuple[int, int, int]:
        """Return the rows lost, the rows imported twice, and the error of the recorded count."""
        ((count, different),) = query(self.url, "SELECT count(*), count(DISTINCT n) FROM loaded")
        recorded = "SELECT coalesce(sum(rows), 0) FROM oneoff_runs WHERE command = 'data import'"
        ((told,),) = query(self.url, recorded)
        return rows - different, count - different, count - int(told)


def make_rows(path: Path, rows: int) -> tuple[str, ...]:
    """Write a file of rows, some of two lines, and return the words that import it."""
    with path.open("w", encoding="utf-8") as file:
        file.write("n,what\n")
        file.writelines(f'{n},"row\n{n}"\n' if n % 7 == 0 else f"{n},row\n" for n in range(rows))
    return (*LINE, str(path), *OPTIONS)
