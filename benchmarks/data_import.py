"""The rows for `data import`: the programs that load a million users, and the goals.

Each run starts from a new copy of the same database.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import environments
from data_compare import Row, Side
from data_export import PROJECTS, django
from data_shop import CHANGED, EMPTY, FULL, HALF, NAMES, RUN, Shop
from errors import BenchmarkError

BAD_INPUT = 65
FEWER = 10
"""Django's loaddata gets a tenth of the rows, because all of them would take ten minutes."""
_COLUMNS = NAMES.split(", ")
_SET = "SET " + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[1:])
_ONLY_CHANGED = (
    f"WHERE ({', '.join(f'users.{name}' for name in _COLUMNS[1:])}) "
    f"IS DISTINCT FROM ({', '.join(f'excluded.{name}' for name in _COLUMNS[1:])})"
)
# In the database `changed`, every second row has another role than in the file.
_AS_IN_FILE = "role = (ARRAY['user', 'moderator', 'admin'])[1 + id % 3]"


class Imports:
    """Create the rows."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def row(self, name: str) -> Row:
        """Return the row with this name."""
        return {
            "import": self._plain,
            "import-skip": self._skip,
            "import-update": self._update,
            "import-same": self._same,
            "import-bad": self._bad,
            "import-rejects": self._rejects,
            "import-sqlite": self._sqlite,
        }[name]()

    def growing(self, rows: Sequence[int]) -> list[Side]:
        """Return our imports, one for each number of rows."""
        return [self._ours(EMPTY, self._shop.csv(each), rows=each) for each in rows]

    def _plain(self) -> Row:
        file, few = self._file(), self._shop.rows // FEWER
        copy = f"\\copy users ({NAMES}) FROM '{file}' CSV HEADER"
        url = self._shop.database(RUN).replace("postgresql://", "postgresql+asyncpg://")
        core = _script("core", url, str(file))
        bulk = django(self._shop.database(RUN), "import_csv", str(file))
        load = django(self._shop.database(RUN), "loaddata", str(self._shop.fixture(few)))
        peers = [
            self._side("psql \\copy", self._psql(copy), EMPTY, goal=1.35),
            replace(self._side("SQLAlchemy core in batches", core, EMPTY), slow=True),
            _beaten(self._side("Django bulk_create", bulk, EMPTY, goal=10)),
            _beaten(self._side("Django loaddata", load, EMPTY, few, goal=250), share=1 / FEWER),
        ]
        return Row("import", self._ours(EMPTY, file), peers)

    def _skip(self) -> Row:
        by_hand = self._by_hand("DO NOTHING")
        peer = self._side("COPY and ON CONFLICT by hand", by_hand, HALF, goal=1.15)
        return Row("import-skip", self._ours(HALF, self._file(), "skip"), [peer])

    def _update(self) -> Row:
        by_hand = self._by_hand(f"(id) DO UPDATE {_SET} {_ONLY_CHANGED}")
        peer = self._side("COPY and ON CONFLICT by hand", by_hand, CHANGED, goal=1.15)
        return Row("import-update", self._ours(CHANGED, self._file(), "update"), [peer])

    def _same(self) -> Row:
        """Return the import of rows that already exist and are equal; the peer rewrites them."""
        by_hand = self._by_hand(f"(id) DO UPDATE {_SET}")
        peer = self._side("ON CONFLICT, all rewritten", by_hand, FULL, goal=0.6)
        return Row("import-same", self._ours(FULL, self._file(), "update"), [peer])

    def _bad(self) -> Row:
        good = self._ours(EMPTY, self._file(), name="the same file without it", goal=1.05)
        bad = self._shop.csv(self._shop.rows, bad=True)
        ours = replace(self._ours(EMPTY, bad, rows=0), exit_code=BAD_INPUT)
        return Row("import-bad", ours, [good])

    def _rejects(self) -> Row:
        """Return the import with --rejects of a file without bad rows."""
        plain = self._ours(EMPTY, self._file(), name="without --rejects", goal=1.2)
        ours = self._ours(EMPTY, self._file())
        words = ("--rejects", str(self._shop.folder / "rejects.csv"))
        return Row("import-rejects", replace(ours, argv=(*ours.argv, *words)), [plain])

    def _sqlite(self) -> Row:
        file, database = self._shop.sqlite_csv(), self._shop.sqlite(RUN)
        self._shop.sqlite(EMPTY)
        shell = ("sqlite3", str(database), f".import --csv --skip 1 {file} users")
        batches = _script("sqlite", str(database), str(file))
        peers = [
            self._on_sqlite("sqlite3 shell .import", shell, goal=1.8),
            self._on_sqlite("csv.reader and executemany", batches),
        ]
        argv = _manage(f"sqlite:///{database}", file)
        return Row("import-sqlite", self._on_sqlite("manage.py data import", argv), peers)

    def _file(self) -> Path:
        return self._shop.csv(self._shop.rows)

    def _ours(
        self,
        state: str,
        file: Path,
        on_conflict: str = "error",
        *,
        name: str = "manage.py data import",
        rows: int | None = None,
        goal: float | None = None,
    ) -> Side:
        argv = _manage(self._shop.database(RUN), file, "--on-conflict", on_conflict)
        return self._side(name, argv, state, rows, goal=goal)

    def _by_hand(self, what: str) -> Sequence[str]:
        return self._psql(
            f"CREATE TEMP TABLE staging AS SELECT {NAMES} FROM users WITH NO DATA",  # noqa: S608
            f"\\copy staging FROM '{self._file()}' CSV HEADER",
            f"INSERT INTO users ({NAMES}) SELECT {NAMES} FROM staging ON CONFLICT {what}",  # noqa: S608
        )

    def _psql(self, *commands: str) -> Sequence[str]:
        program = str(self._shop.server.bin / "psql")
        words = [word for command in commands for word in ("-c", command)]
        return (program, "-Xq1", "-v", "ON_ERROR_STOP=1", "-d", self._shop.database(RUN), *words)

    def _side(
        self,
        name: str,
        argv: Sequence[str],
        state: str,
        rows: int | None = None,
        *,
        goal: float | None = None,
    ) -> Side:
        wanted = self._shop.rows if rows is None else rows
        return Side(
            name,
            argv,
            before=lambda: self._shop.start_from(state),
            check=_count_is(wanted, lambda: self._shop.count(RUN, _AS_IN_FILE), name),
            goal=goal,
        )

    def _on_sqlite(self, name: str, argv: Sequence[str], *, goal: float | None = None) -> Side:
        return Side(
            name,
            argv,
            before=self._shop.start_from_empty_sqlite,
            check=_count_is(self._shop.rows, self._shop.count_sqlite, name),
            goal=goal,
        )


def _beaten(side: Side, *, share: float = 1) -> Side:
    """Return a side of the Django project with the goal that ours is faster."""
    return replace(side, faster=True, slow=True, share=share, cwd=PROJECTS / "django_data")


def _manage(url: str, file: Path, *words: str) -> Sequence[str]:
    python = str(environments.ours(environments.peers()).python)
    line = ("manage.py", "data", "import", "users", str(file), *words, "--confirm", "--quiet")
    return ("env", f"DATABASE_URL={url}", python, *line)


def _script(*words: str) -> Sequence[str]:
    path = PROJECTS / "sqlalchemy_data" / "load.py"
    return (str(environments.peers().python), str(path), *words)


def _count_is(wanted: int, count: Callable[[], int], name: str) -> Callable[[], None]:
    def check() -> None:
        found = count()
        if found != wanted:
            raise BenchmarkError(f"{name} left {found} rows that are as in the file, not {wanted}")

    return check
