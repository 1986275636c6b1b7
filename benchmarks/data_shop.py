"""The databases and files of `make bench-data`: one table of users, in several states.

Each state is a PostgreSQL template database, so each run starts from the same bytes.
"""

import csv
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import postgres
from data_compare import REPOSITORY
from errors import BenchmarkError

NAMES = "id, username, email, role, active, created_at"
RUN = "run"
"""The name of the PostgreSQL database or SQLite file that a run changes."""
EMPTY, FULL, HALF, CHANGED = "empty", "shop", "half", "changed"
"""States: no rows; all rows; every second row; all rows, every second one with another role."""

_ROLES = ("user", "moderator", "admin")
_FILL = """
INSERT INTO users (id, username, email, role, active, created_at)
SELECT i, 'user' || i, 'user' || i || '@example.com',
       (ARRAY['user', 'moderator', 'admin'])[1 + i % 3], i % 7 <> 0,
       timestamptz '2026-01-01' + i * interval '1.000001 seconds'
FROM generate_series({first}, {last}, {step}) i
"""
_CHANGE = """
UPDATE users SET role = CASE role WHEN 'user' THEN 'admin' ELSE 'user' END WHERE id % 2 = 0
"""

# The files have six columns, like an export; the seventh column is a secret and gets a default.
# Two more indexes and three checks would be most of the work on all sides, so they are dropped.
_LEAN = """
ALTER TABLE users ALTER password_hash SET DEFAULT 'x', DROP CONSTRAINT uq_users_username,
    DROP CONSTRAINT uq_users_email, DROP CONSTRAINT ck_users_email_lower,
    DROP CONSTRAINT ck_users_username_lower, DROP CONSTRAINT ck_users_role
"""
_FILLED = ("username", "email", "role", "active", "password_hash", "created_at")
_BAD_LINE = "none,last,last@example.com,user,t,2026-01-01 00:00:00+00\n"


@dataclass
class Shop:
    """The databases and files of the benchmark. Each is created when it is first needed."""

    folder: Path
    server: postgres.Server
    rows: int
    _made: set[str] = field(default_factory=set)

    def environ(self) -> dict[str, str]:
        """Return the environment variables of every child process."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "ENVIRONMENT": "development",
            "LOG_LEVEL": "error",
        }

    def database(self, state: str) -> str:
        """Return the URL of a PostgreSQL database in this state."""
        if state != RUN and state not in self._made:
            self._made.add(state)
            self._make(state)
        return self.server.url(state).replace("postgres://", "postgresql://")

    def start_from(self, state: str) -> None:
        """Create the database `run` again, in this state."""
        # After a checkpoint the server has nothing to write that a run would pay for.
        self.database(state)
        self.server.query("postgres", f"DROP DATABASE IF EXISTS {RUN}")
        self.server.query("postgres", f"CREATE DATABASE {RUN} TEMPLATE {state}")
        self.server.query("postgres", "CHECKPOINT")

    def count(self, state: str, where: str = "true") -> int:
        """Return the number of users in a database."""
        return int(self.server.query(state, f"SELECT count(*) FROM users WHERE {where}"))  # noqa: S608

    def grow(self, rows: int) -> None:
        """Add rows to the full database until it has this many."""
        self.database(FULL)
        have = self.count(FULL)
        if have < rows:
            self._fill(FULL, have + 1, rows)

    def sqlite(self, state: str) -> Path:
        """Return the path of a SQLite database in this state: empty, or full."""
        path = self.folder / f"{state}.sqlite3"
        if state != RUN and not path.exists():
            self._migrate(f"sqlite:///{path}")
            _make_lean(path)
            if state == FULL:
                self._fill_sqlite(path)
        return path

    def start_from_empty_sqlite(self) -> None:
        """Create the SQLite database `run` again, empty."""
        for old in self.folder.glob(f"{RUN}.sqlite3*"):
            old.unlink()
        shutil.copyfile(self.sqlite(EMPTY), self.sqlite(RUN))

    def count_sqlite(self) -> int:
        """Return the number of users in the SQLite database `run`."""
        with closing(sqlite3.connect(self.sqlite(RUN))) as connection:
            ((count,),) = connection.execute("SELECT count(*) FROM users")
        return int(count)

    def csv(self, rows: int, *, bad: bool = False) -> Path:
        """Return a file of the first users; with `bad`, its last row can't be imported."""
        path = self.folder / f"users-{rows}{'-bad' if bad else ''}.csv"
        if not path.exists():
            self.grow(rows)
            query = f"SELECT {NAMES} FROM users WHERE id <= {rows} ORDER BY id"  # noqa: S608
            self.server.query(FULL, f"\\copy ({query}) TO '{path}' CSV HEADER")
            if bad:
                with path.open("a") as file:
                    file.write(_BAD_LINE)
        return path

    def sqlite_csv(self) -> Path:
        """Return a file of all users with all columns, in the form in which SQLite stores them."""
        path = self.folder / "sqlite.csv"
        if not path.exists():
            names = [name for name, _, _ in _columns(self.sqlite(EMPTY))]
            with path.open("w", newline="") as file:
                # The sqlite3 shell needs all columns in order; unused columns are empty.
                writer = csv.DictWriter(file, names, restval="")
                writer.writeheader()
                for number, user in enumerate(self._users(), 1):
                    writer.writerow({"id": number, **dict(zip(_FILLED, user, strict=True))})
        return path

    def fixture(self, rows: int) -> Path:
        """Return a file of users for Django's `loaddata`."""
        path = self.folder / f"users-{rows}.json"
        if not path.exists():
            # Line by line: the measured memory of a child includes that of this process at the
            # fork.
            with self.csv(rows).open(newline="") as file, path.open("w") as fixture:
                objects = map(json.dumps, _objects(csv.DictReader(file)))
                fixture.write(f"[{next(objects)}")
                fixture.writelines(f",\n{each}" for each in objects)
                fixture.write("]\n")
        return path

    def _make(self, state: str) -> None:
        if state == EMPTY:
            self.server.create_database(state)
            self._migrate(self.server.url(state))
            self.server.query(state, _LEAN)
            return
        template = FULL if state == CHANGED else EMPTY
        self.database(template)
        self.server.query("postgres", f"CREATE DATABASE {state} TEMPLATE {template}")
        if state == CHANGED:
            self.server.query(state, _CHANGE)
            self.server.query(state, "VACUUM FULL ANALYZE users")
        else:
            self._fill(state, 1, self.rows, step=2 if state == HALF else 1)

    def _fill(self, state: str, first: int, last: int, *, step: int = 1) -> None:
        self.server.query(state, _FILL.format(first=first, last=last, step=step))
        self.server.query(state, "VACUUM ANALYZE users")

    def _fill_sqlite(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executemany(
                f"INSERT INTO users ({', '.join(_FILLED)}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608
                self._users(),
            )

    def _users(self) -> Iterator[Sequence[object]]:
        start = datetime(2026, 1, 1, tzinfo=UTC)
        for i in range(1, self.rows + 1):
            created = start + timedelta(seconds=i, microseconds=i % 1_000_000)
            moment = created.strftime("%Y-%m-%d %H:%M:%S.%f")
            active = int(i % 7 != 0)
            yield f"user{i}", f"user{i}@example.com", _ROLES[i % 3], active, "x", moment

    def _migrate(self, url: str) -> None:
        done = subprocess.run(
            [sys.executable, "manage.py", "migrate"],
            cwd=REPOSITORY,
            env={**self.environ(), "DATABASE_URL": url},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BenchmarkError(f"migrate failed:\n{done.stdout}{done.stderr}")


def _make_lean(path: Path) -> None:
    """Replace the table with one that has only the columns and the primary key."""
    parts = [
        f"{name} {kind}{' PRIMARY KEY' if name == 'id' else ' NOT NULL' if needed else ''}"
        for name, kind, needed in _columns(path)
    ]
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"DROP TABLE users; CREATE TABLE users ({', '.join(parts)})")


def _columns(path: Path) -> list[tuple[str, str, bool]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(
            "SELECT name, type, \"notnull\" FROM pragma_table_info('users')"
        ).fetchall()


def _objects(rows: Iterator[dict[str, str]]) -> Iterator[dict[str, object]]:
    for row in rows:
        fields: dict[str, object] = {**row, "active": row["active"] == "t"}
        number = int(str(fields.pop("id")))
        yield {"model": "shop.user", "pk": number, "fields": fields}
