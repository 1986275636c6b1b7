"""The second entry point of the how-to: its role can read what it was granted, and write nothing.

The role, the files and the lines are those of the page.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oneoff.testing import Manage
from tests.support.documentation import ROOT, blocks
from tests.support.servers import Postgres

PAGE = ROOT / "docs/howto/second-entry-point.md"
FILE = re.compile(
    r"^`([\w/]+\.py)`[^\n]*:\n\n<!--[^\n]*-->\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
Analyst = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def url(postgres_server: Postgres, migrated_postgres: str) -> Iterator[str]:
    """Return the URL of the role, in a database with a user and an event."""
    (statements,) = (block.text for block in blocks(PAGE) if block.language == "sql")
    with postgres_server.database(migrated_postgres) as name:
        postgres_server.psql(
            "INSERT INTO users (username, email, password_hash, locale)"
            " VALUES ('ada', 'ada@example.com', 'x', 'de');"
            "INSERT INTO events (at, kind, user_id) SELECT now(), 'a', id FROM users",
            name,
        )
        postgres_server.psql(statements, name)
        owner = postgres_server.url(name)
        yield re.sub("//.*@", "//analyst:change-me@", owner)
        postgres_server.psql("DROP OWNED BY analyst; DROP ROLE analyst", name)


@pytest.fixture
def analyst(url: str, tmp_path: Path) -> Analyst:
    """Return a function that runs a line of the script."""
    for name, text in FILE.findall(PAGE.read_text(encoding="utf-8")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        for folder in {path.parent, path.parent.parent} - {tmp_path, tmp_path.parent}:
            (folder / "__init__.py").touch()
    rows = "username,email,password_hash\nbob,b@example.com,x\n"
    (tmp_path / "users.csv").write_text(rows, encoding="utf-8")
    (tmp_path / ".env").write_text("MIGRATION_DATABASE_URL=postgresql://owner@localhost:1/shop\n")

    def run(*words: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        own = {"ANALYST_DATABASE_URL": url} if environ is None else environ
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return subprocess.run(
            [sys.executable, "analyst.py", *words],
            cwd=tmp_path,
            env={**inherited, "PYTHONPATH": str(ROOT), "ENVIRONMENT": "production", **own},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_analysts_run_the_lines_of_the_page(analyst: Analyst, tmp_path: Path) -> None:
    """A report with the application's models, and an export of the granted columns."""
    lines = [
        line.split()[2:]
        for block in blocks(PAGE)
        if block.language == "sh"
        for line in block.text.splitlines()
    ]

    done = [analyst(*words) for words in lines]

    assert [0, 0] == [one.returncode for one in done], [one.stderr for one in done]
    assert '"data": [{"locale": "de", "users": 1}]' in done[0].stdout
    assert "recorded in the log only" in done[0].stdout
    assert "id,username,role\n1,ada,user\n" == (tmp_path / "names.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("data export users", "error[permission-denied]"),
        ("data import users users.csv --confirm", "error[permission-denied]"),
        ("migrate", "error[permission-denied]"),
        ("db shell -c 'DELETE FROM events'", "read-only transaction"),
    ],
)
def test_what_was_not_granted_is_refused(
    analyst: Analyst, postgres_server: Postgres, url: str, line: str, error: str
) -> None:
    """By the database: the event and the user are still there."""
    name = url.rpartition("/")[2]

    done = analyst(*shlex.split(line))

    assert done.returncode
    assert error in done.stderr
    counts = "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM events)"
    assert "1|1" == postgres_server.psql(counts, name).strip()


def test_a_role_that_may_be_recorded_still_changes_nothing(
    analyst: Analyst, postgres_server: Postgres, url: str, manage_project: tuple[str, str]
) -> None:
    """With the rights that `audit roles` prints, a run is recorded. The table stays closed."""
    name = url.rpartition("/")[2]
    owner = Manage(*manage_project, {"DATABASE_URL": postgres_server.url(name)})
    postgres_server.psql(asyncio.run(owner("audit roles analyst")).stdout, name)

    report = analyst("report", "locales", "--json")
    written = analyst("data", "import", "users", "users.csv", "--confirm")

    assert (0, False) == (report.returncode, "recorded in the log only" in report.stdout)
    assert (78, True) == (written.returncode, "permission denied for table" in written.stderr)
    ended = (
        "SELECT string_agg(status, ' ' ORDER BY status) FROM oneoff_runs"
        " WHERE command IN ('report locales', 'data import')"
    )
    assert "failed unchanged" == postgres_server.psql(ended, name).strip()


def test_the_credential_of_the_application_is_not_used(analyst: Analyst, url: str) -> None:
    """Neither if its own is missing, nor if .env names it."""
    done = analyst("report", "locales", environ={"DATABASE_URL": url})

    assert 1 == done.returncode
    assert done.stderr.startswith("ANALYST_DATABASE_URL is not set")
