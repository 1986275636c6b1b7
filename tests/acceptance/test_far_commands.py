"""Each command waits for the database exactly this often, and imports exactly this.

Each burst costs an operator one round trip, and each library some of the time until the first one.
The numbers are the same on each machine. `python -m tests.support.bursts user list` shows what they
consist of; docs/explanation/start-up.md describes both costs.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from oneoff.testing import Manage
from tests.support.bursts import far
from tests.support.servers import Postgres

ROOT = Path(__file__).parents[2]
LIBRARIES = frozenset("alembic argon2 pydantic redis sqlalchemy structlog".split())
TRACER = """
import atexit, sys
atexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr))
sys.argv = ["manage.py", *sys.argv[1:]]
exec(open("manage.py").read())
"""
EXPECTED = {
    "hello": (0, ""),
    "user list": (16, "sqlalchemy"),
    "user show ada": (14, "sqlalchemy"),
    "user promote bob moderator --confirm": (25, "sqlalchemy structlog"),
    "user promote ada admin --dry-run": (25, "sqlalchemy structlog"),
    "migrate": (16, "sqlalchemy"),
    "migrate --check": (18, "sqlalchemy"),
    "db status": (28, "alembic sqlalchemy"),
    "system health": (16, "sqlalchemy"),
    "data cleanup --confirm": (18, "sqlalchemy structlog"),
}
"""The bursts without those of the login, and the libraries, by command line."""


@dataclass(frozen=True)
class Migrated:
    """A migrated database with two users."""

    server: Postgres
    name: str


@pytest.fixture(scope="module")
def migrated(postgres_server: Postgres) -> Iterator[Migrated]:
    """Migrate a database. A copy would not do: `migrate` stores the environment of a copy."""
    with postgres_server.database() as name:
        environ = {"DATABASE_URL": postgres_server.url(name), "ENVIRONMENT": "test"}
        manage = Manage("app.project:project", str(ROOT), environ)
        for line in (
            "migrate",
            "user create ada ada@example.com --generate-password",
            "user create bob bob@example.com --generate-password",
        ):
            finished = asyncio.run(manage(line))
            assert 0 == finished.exit_code, finished.stderr
        yield Migrated(postgres_server, name)


@pytest.mark.parametrize("line", EXPECTED)
def test_a_command_waits_and_imports_as_listed(
    migrated: Migrated, environ: dict[str, str], line: str
) -> None:
    """If less is right, or more is needed: put the numbers of the message into `EXPECTED`."""
    server = migrated.server
    with far(server.port) as proxy, proxy.record() as trace:
        url = proxy.url(server.url(migrated.name))
        done = subprocess.run(
            [sys.executable, "-c", TRACER, *line.split()],
            cwd=ROOT,
            env={**environ, "DATABASE_URL": url, "ENVIRONMENT": "test"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert 0 == done.returncode, done.stderr
    modules = {name.partition(".")[0] for name in done.stderr.splitlines()[-1].split()}
    found = (trace.count, " ".join(sorted(modules & LIBRARIES)))
    assert EXPECTED[line] == found, f'put this into EXPECTED: "{line}": {found},'
