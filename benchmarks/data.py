"""Compare `data export` with its peers, in whole processes: `make bench-data`.

1,000,000 rows of users (id, two texts, role, bool, timestamptz). Exits 0 when every goal is met, 1
when one is missed, 2 when something could not be measured. Run it with the project's own
interpreter.
"""

import argparse
import os
import shlex
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import environments
import postgres
from errors import BenchmarkError, run_script

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECTS = Path(__file__).resolve().parent / "projects"
ROWS = 1_000_000
ENOUGH_RUNS = 9
SLOW_EVERY = 3
"""A peer that takes tens of seconds runs in every third round: its ratio needs no precision."""
MEMORY = 90.0
"""MiB that an export may take at most."""
SMALL = 0.2
"""A ratio below is shown as a fraction."""
NAMES = "id, username, email, role, active, created_at"
COLUMNS = "{:<14} {:<34} {:>8} {:>8} {:>9} {:>8}"
FILL = """
INSERT INTO users (username, email, role, active, password_hash, created_at)
SELECT 'user' || i, 'user' || i || '@example.com', (ARRAY['user', 'moderator', 'admin'])[1 + i % 3],
       i % 7 <> 0, 'x', timestamptz '2026-01-01' + i * interval '1.000001 seconds'
FROM generate_series(1, {rows}) i
"""


@dataclass(frozen=True)
class Side:
    """Something that writes the rows to a file.

    Attributes:
        name: Shown.
        argv: With "{file}" for the file.
        goal: Times this side that ours may take at most; at least, for what is beaten: "25 x".
        slow: Whether it runs in every third round only.
        faster: Whether the goal is how many times faster ours must be.
    """

    name: str
    argv: Sequence[str]
    goal: float | None = None
    slow: bool = False
    faster: bool = False
    cwd: Path = REPOSITORY


@dataclass(frozen=True)
class Row:
    """One line of the comparison: ours against peers."""

    name: str
    ours: Side
    peers: Sequence[Side]


@dataclass(frozen=True)
class Run:
    """One export: seconds, and MiB of memory."""

    seconds: float
    memory: float


def main() -> int:
    """Measure the rows asked for and print them."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, and stops the server
    options = _parse()
    if options.runs < ENOUGH_RUNS or options.rows < ROWS:
        print("fewer runs or rows than the goals are for: an impression, not a result")
    print(COLUMNS.format("row", "side", "time, s", "MiB", "ours/peer", "goal"))
    missed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="oneoff-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # the server's user must reach its data
        with postgres.running(folder) as server:
            environ = _environ(folder, server)
            _fill(folder, server, environ, options.rows)
            for row in _rows(folder, server, options.only):
                missed += _compare(row, folder, environ, options)
            if "memory" in options.only:
                missed += _memory(folder, server, environ, options.rows)
    print(f"\ngoals MISSED: {', '.join(missed) or 'none'}")
    return int(bool(missed))


def _compare(
    row: Row, folder: Path, environ: dict[str, str], options: argparse.Namespace
) -> list[str]:
    sides = [side for side in (*row.peers, row.ours) if not (side.slow and options.fast)]
    runs: dict[str, list[Run]] = {side.name: [] for side in sides}
    for number in range(options.runs + 1):  # the first round warms up
        for side in sides:
            if side.slow and number % SLOW_EVERY != 1:
                continue
            run = _measure(side, folder / f"out.{row.name}", environ)
            if number:
                runs[side.name].append(run)
    middle = {
        name: Run(statistics.median(r.seconds for r in of), max(r.memory for r in of))
        for name, of in runs.items()
    }
    ours = middle[row.ours.name]
    missed = [problem for side in sides if (problem := _shown(row, side, middle[side.name], ours))]
    if ours.memory > MEMORY:
        missed.append(f"{row.name}: {ours.memory:.0f} MiB > {MEMORY:.0f} MiB")
    return missed


def _shown(row: Row, side: Side, middle: Run, ours: Run) -> str:
    ratio = ours.seconds / middle.seconds
    goal, met = "", True
    if side.goal and side.faster:
        goal, met = f">= {side.goal:.0f} x", ratio * side.goal <= 1
    elif side.goal:
        goal, met = f"<= {side.goal:.2f}", ratio <= side.goal
    shown = "" if side is row.ours else f"{ratio:.2f}" if ratio > SMALL else f"1/{1 / ratio:.0f}"
    figures = (f"{middle.seconds:.2f}", f"{middle.memory:.0f}", shown, goal)
    print(COLUMNS.format(row.name, side.name, *figures).rstrip(), "" if met else "MISSED")
    sys.stdout.flush()
    return "" if met else f"{row.name} against {side.name}: {shown}, {goal}"


def _memory(folder: Path, server: postgres.Server, environ: dict[str, str], rows: int) -> list[str]:
    """Show the memory of a tenth, of all and of twice the rows."""
    missed = []
    _fill_postgres(server, rows)
    for row in _rows(folder, server, ("csv", "jsonl", "sql", "parquet")):
        peaks = []
        for limit in (rows // 10, rows, 2 * rows):
            line = (*row.ours.argv, "--limit", str(limit))
            run = _measure(Side(row.ours.name, line), folder / f"out.{row.name}", environ)
            peaks.append(run.memory)
        print(f"memory of {row.name}: {', '.join(f'{peak:.0f}' for peak in peaks)} MiB")
        if row.name != "parquet" and peaks[2] > min(MEMORY, peaks[0] * 1.1):
            missed.append(f"memory of {row.name} grows to {peaks[2]:.0f} MiB")
    return missed


def _measure(side: Side, file: Path, environ: dict[str, str]) -> Run:
    file.unlink(missing_ok=True)
    argv = [word.replace("{file}", str(file)) for word in side.argv]
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            argv, cwd=side.cwd, env=environ, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode or not file.stat().st_size:
            said.seek(0)
            raise BenchmarkError(f"{side.name} failed:\n{said.read().decode()}")
    return Run(seconds, usage.ru_maxrss / 1024)


def _rows(folder: Path, server: postgres.Server, only: Sequence[str]) -> Iterator[Row]:
    made = {
        "csv": lambda: Row("csv", _ours("csv"), _csv_peers(server)),
        "jsonl": lambda: Row("jsonl", _ours("jsonl"), _jsonl_peers(server)),
        "sql": lambda: Row("sql", _ours("sql"), _sql_peers(server)),
        "parquet": lambda: Row("parquet", _ours("parquet"), []),
        "sqlite": lambda: _sqlite_row(folder),
    }
    for name in only:
        if name in made:
            yield made[name]()


def _ours(kind: str, *environ: str) -> Side:
    line = (
        f"data export users --format {kind} --columns {NAMES.replace(' ', '')} --include-pii "
        "--reason benchmark --quiet -o {file}"
    )
    # As deployed: tools of development would be imported too, and make every start slower.
    deployed = kind != "parquet"  # whose package is none of the reference project's
    python = str(environments.ours(environments.peers()).python) if deployed else sys.executable
    argv = ("env", *environ, python, "manage.py", *shlex.split(line))
    return Side("manage.py data export", argv)


def _csv_peers(server: postgres.Server) -> list[Side]:
    return [
        Side("psql \\copy", _psql(server, f"\\copy users ({NAMES}) TO '{{file}}' CSV HEADER"), 1.6),
        Side("SQLAlchemy stream", _sqlalchemy("csv", _async_url(server))),
        _django("Django iterator and csv", "export_csv", "{file}"),
        _dumpdata("json", goal=25),
    ]


def _jsonl_peers(server: postgres.Server) -> list[Side]:
    # COPY's text form doubles backslashes; this is the fastest that is right.
    query = (
        f"\\copy (SELECT row_to_json(t) FROM (SELECT {NAMES} FROM users) t) "  # noqa: S608
        "TO '{file}' (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')"
    )
    return [
        Side("psql row_to_json", _psql(server, query), 1.3),
        Side("SQLAlchemy stream and json", _sqlalchemy("jsonl", _async_url(server)), slow=True),
        _dumpdata("jsonl", goal=12),
    ]


def _sql_peers(server: postgres.Server) -> list[Side]:
    dump = (str(server.bin / "pg_dump"), "-d", _url(server), "-t", "users", "-a", "-f", "{file}")
    return [Side("pg_dump --inserts", (*dump, "--inserts"), 2.0), Side("pg_dump COPY", dump)]


def _sqlite_row(folder: Path) -> Row:
    database = folder / "shop.sqlite3"
    shell = f"sqlite3 -csv -header {database} 'SELECT {NAMES} FROM users' > {{file}}"  # noqa: S608
    return Row(
        "sqlite",
        _ours("csv", f"DATABASE_URL=sqlite:///{database}"),
        [
            Side("sqlite3 shell", ("sh", "-c", shell), 3.5),
            Side("SQLAlchemy stream", _sqlalchemy("csv", f"sqlite:///{database}")),
        ],
    )


def _psql(server: postgres.Server, command: str) -> Sequence[str]:
    return (str(server.bin / "psql"), "-Xq", "-d", _url(server), "-c", command)


def _django(name: str, *words: str, goal: float | None = None) -> Side:
    python = str(environments.peers().python)
    return Side(
        name,
        (python, "manage.py", *words),
        goal,
        slow=True,
        faster=goal is not None,
        cwd=PROJECTS / "django_data",
    )


def _dumpdata(kind: str, goal: float) -> Side:
    line = ("dumpdata", "shop.User", "--format", kind, "-o", "{file}")
    return _django(f"Django dumpdata ({kind})", *line, goal=goal)


def _sqlalchemy(kind: str, url: str) -> Sequence[str]:
    script = PROJECTS / "sqlalchemy_data" / "export.py"
    return (str(environments.peers().python), str(script), kind, url, "{file}")


def _url(server: postgres.Server) -> str:
    return server.url("shop").replace("postgres://", "postgresql://")


def _async_url(server: postgres.Server) -> str:
    return server.url("shop").replace("postgres://", "postgresql+asyncpg://")


def _environ(folder: Path, server: postgres.Server) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "DATABASE_URL": server.url("shop"),
        "ENVIRONMENT": "development",
        "LOG_LEVEL": "error",
    }


def _fill(folder: Path, server: postgres.Server, environ: dict[str, str], rows: int) -> None:
    server.create_database("shop")
    _migrate(environ)
    _fill_postgres(server, rows)
    database = folder / "shop.sqlite3"
    _migrate({**environ, "DATABASE_URL": f"sqlite:///{database}"})
    with sqlite3.connect(database) as connection:
        connection.executemany(
            "INSERT INTO users (username, email, role, active, password_hash, created_at) "
            "VALUES (?, ?, ?, ?, 'x', ?)",
            (
                (
                    f"user{i}",
                    f"user{i}@example.com",
                    ("user", "moderator", "admin")[i % 3],
                    i % 7 != 0,
                    f"2026-01-{1 + i % 28:02} {i % 24:02}:{i % 60:02}:00.{i % 1_000_000:06}",
                )
                for i in range(rows)
            ),
        )
    connection.close()


def _fill_postgres(server: postgres.Server, rows: int) -> None:
    have = int(server.query("shop", "SELECT count(*) FROM users"))
    more = FILL.format(rows=rows).replace("'user' || i", f"'user' || i + {have}")
    server.query("shop", more)
    server.query("shop", "VACUUM ANALYZE users")


def _migrate(environ: dict[str, str]) -> None:
    command = [sys.executable, "manage.py", "migrate"]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BenchmarkError(f"migrate failed:\n{done.stdout}{done.stderr}")


def _parse() -> argparse.Namespace:
    rows = ("csv", "jsonl", "sql", "parquet", "sqlite", "memory")
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--runs", type=int, default=ENOUGH_RUNS, help="timed runs a side")
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the table")
    parser.add_argument(
        "--only", action="append", choices=rows, help="measure this; may be repeated"
    )
    parser.add_argument("--fast", action="store_true", help="leave out the slow peers")
    options = parser.parse_args()
    options.only = options.only or list(rows)
    return options


if __name__ == "__main__":
    run_script(main)
