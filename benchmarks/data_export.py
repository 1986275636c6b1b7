"""The rows for `data export`: the programs that write a million users to a file, and the goals."""

import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import environments
import postgres
from data_compare import Row, Side
from data_shop import FULL, NAMES, Shop
from errors import BenchmarkError

PROJECTS = Path(__file__).resolve().parent / "projects"
FORMATS = ("csv", "jsonl", "sql", "parquet")
PARQUET_MEMORY = 170.0
"""The goal in MiB. With pyarrow loaded, the export of one row takes 105."""


class Exports:
    """Create the rows."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def row(self, name: str) -> Row:
        """Return the row of a format (on PostgreSQL), or the row "sqlite"."""
        if name == "sqlite":
            url = f"sqlite:///{self._shop.sqlite(FULL)}"
            return Row(name, self._ours("csv", url, name), list(self._sqlite_peers(url)))
        ours = self._ours(name, self._shop.database(FULL), name)
        if name == "parquet":
            return Row(name, ours, [], PARQUET_MEMORY)
        peers: dict[str, Callable[[], Iterable[Side]]] = {
            "csv": self._csv_peers,
            "jsonl": self._jsonl_peers,
            "sql": self._sql_peers,
        }
        return Row(name, ours, list(peers[name]()))

    def growing(self, kind: str, rows: Sequence[int]) -> list[Side]:
        """Return our exports in this format, one for each number of rows."""
        self._shop.grow(max(rows))
        url = self._shop.database(FULL)
        return [self._ours(kind, url, kind, "--limit", str(limit)) for limit in rows]

    def _ours(self, kind: str, url: str, row: str, *words: str) -> Side:
        line = (
            f"data export users --format {kind} --columns {NAMES.replace(' ', '')} --include-pii "
            "--reason benchmark --quiet -o"
        )
        # Use the deployed environment: development tools would be imported and slow down the start.
        deployed = kind != "parquet"  # the reference project does not install pyarrow
        python = str(environments.ours(environments.peers()).python) if deployed else sys.executable
        argv = ("env", f"DATABASE_URL={url}", python, "manage.py", *shlex.split(line))
        return self._side("manage.py data export", (*argv, "{file}", *words), row)

    def _csv_peers(self) -> Iterator[Side]:
        copy = _psql(self._shop.server, f"\\copy users ({NAMES}) TO '{{file}}' CSV HEADER")
        yield self._side("psql \\copy", copy, "csv", goal=1.6)
        yield self._side("SQLAlchemy stream", self._sqlalchemy("csv"), "csv")
        yield self._django("Django iterator and csv", "export_csv", "{file}", row="csv")
        yield self._dumpdata("json", "csv", goal=25)

    def _jsonl_peers(self) -> Iterator[Side]:
        # COPY's text format doubles backslashes. This is the fastest query with a correct result.
        query = (
            f"\\copy (SELECT row_to_json(t) FROM (SELECT {NAMES} FROM users) t) "  # noqa: S608
            "TO '{file}' (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')"
        )
        yield self._side("psql row_to_json", _psql(self._shop.server, query), "jsonl", goal=1.3)
        stream = self._sqlalchemy("jsonl")
        yield replace(self._side("SQLAlchemy stream and json", stream, "jsonl"), slow=True)
        yield self._dumpdata("jsonl", "jsonl", goal=12)

    def _sql_peers(self) -> Iterator[Side]:
        dump = str(self._shop.server.bin / "pg_dump")
        argv = (dump, "-d", self._shop.database(FULL), "-t", "users", "-a", "-f", "{file}")
        yield self._side("pg_dump --inserts", (*argv, "--inserts"), "sql", goal=2.0)
        yield self._side("pg_dump COPY", argv, "sql")

    def _sqlite_peers(self, url: str) -> Iterator[Side]:
        database = url.removeprefix("sqlite:///")
        shell = f"sqlite3 -csv -header {database} 'SELECT {NAMES} FROM users' > {{file}}"  # noqa: S608
        yield self._side("sqlite3 shell", ("sh", "-c", shell), "sqlite", goal=3.5)
        yield self._side("SQLAlchemy stream", _script("export.py", "csv", url, "{file}"), "sqlite")

    def _sqlalchemy(self, kind: str) -> Sequence[str]:
        url = self._shop.database(FULL).replace("postgresql://", "postgresql+asyncpg://")
        return _script("export.py", kind, url, "{file}")

    def _dumpdata(self, kind: str, row: str, goal: float) -> Side:
        words = ("dumpdata", "shop.User", "--format", kind, "-o", "{file}")
        return self._django(f"Django dumpdata ({kind})", *words, row=row, goal=goal)

    def _django(self, name: str, *words: str, row: str, goal: float | None = None) -> Side:
        side = self._side(name, django(self._shop.database(FULL), *words), row, goal=goal)
        return replace(side, faster=goal is not None, slow=True, cwd=PROJECTS / "django_data")

    def _side(self, name: str, argv: Sequence[str], row: str, *, goal: float | None = None) -> Side:
        file = self._shop.folder / f"out.{row}"

        def check() -> None:
            if not file.stat().st_size:
                raise BenchmarkError(f"{name} wrote nothing")

        return Side(
            name,
            [word.replace("{file}", str(file)) for word in argv],
            before=lambda: file.unlink(missing_ok=True),
            check=check,
            goal=goal,
        )


def django(url: str, *words: str) -> Sequence[str]:
    """Return a command line of the Django project; start it in the folder of that project."""
    return ("env", f"DATABASE_URL={url}", str(environments.peers().python), "manage.py", *words)


def _psql(server: postgres.Server, command: str) -> Sequence[str]:
    url = server.url(FULL).replace("postgres://", "postgresql://")
    return (str(server.bin / "psql"), "-Xq", "-d", url, "-c", command)


def _script(name: str, *words: str) -> Sequence[str]:
    path = PROJECTS / "sqlalchemy_data" / name
    return (str(environments.peers().python), str(path), *words)
