"""Many processes migrate one database at once, and some of them die."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.acceptance.conftest import ROOT, Run, Start
from tests.support.database import query

MANY, SOME = 20, 8
"""Processes at once: as the documentation says, and enough to wait for the same lock."""
ENV = """\
import sqlalchemy as sa
from oneoff.services.migrations.env import run_env

run_env(sa.MetaData())
"""
PROJECT = """\
from oneoff import Project

project = Project("shop", commands=(), migrations="migrations")
"""
HEAD = (
    "from alembic import op\nimport sqlalchemy as sa\n\nrevision = {!r}\ndown_revision = {!r}\n\n"
)
CREATE = (
    HEAD.format("a1", None)
    + """
def upgrade():
    op.create_table(
        "item",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
    )
"""
)
INDEX = (
    HEAD.format("a2", "a1")
    + """
def upgrade():
    with op.get_context().autocommit_block():
        op.create_index("ix_item_name", "item", ["name"], postgresql_concurrently=True)
"""
)
INSERT = (
    HEAD.format("a3", "a2")
    + """
def upgrade():
    with op.get_context().autocommit_block():
        for number in range(100):
            op.execute(f"INSERT INTO item (name) VALUES ('item {number}')")
"""
)
LAST = (
    HEAD.format("a4", "a3")
    + """
def upgrade():
    op.add_column("item", sa.Column("note", sa.Text))
"""
)
HISTORY = {"a1": CREATE, "a2": INDEX, "a3": INSERT, "a4": LAST}

SLOW = (
    HEAD.format("a2", "a1")
    + """
def upgrade():
    op.execute("INSERT INTO item (name) VALUES ('begun')")
    op.execute("SELECT pg_sleep({})")
"""
)
"""A revision with one long statement, in its transaction."""


@pytest.fixture
def make_history(
    make_project: Callable[[Mapping[str, str]], Path],
) -> Callable[[Mapping[str, str]], Path]:
    """Build a project with these revisions."""

    def make(revisions: Mapping[str, str]) -> Path:
        files = {f"migrations/versions/{name}.py": text for name, text in revisions.items()}
        return make_project({"migrations/env.py": ENV, "app/project.py": PROJECT, **files})

    return make


def head(url: str) -> list[str]:
    """Return the revisions of the database."""
    return [str(row[0]) for row in query(url, "SELECT version_num FROM alembic_version")]


def migrate_in_parallel(
    start: Start, folder: Path, url: str, count: int, **settings: str
) -> tuple[list[int], set[str], str]:
    """Return the exit codes, the revisions seen when each process had ended, and their errors."""
    env = {"ENVIRONMENT": "test", "DATABASE_URL": url, **settings}

    def one(_number: int) -> tuple[int, set[str], str]:
        process = start(["migrate", "--lock-wait", "2m"], cwd=folder, env=env)
        _, stderr = process.communicate(timeout=180)
        seen = set(head(settings.get("MIGRATION_DATABASE_URL", url)))
        return process.returncode, seen, stderr

    with ThreadPoolExecutor(count) as pool:
        ended = list(pool.map(one, range(count)))
    errors = "\n".join(stderr for code, _, stderr in ended if code)
    return [code for code, _, _ in ended], set().union(*(seen for _, seen, _ in ended)), errors


@pytest.fixture
def applied_before(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """Return the revisions that are applied before the processes start."""
    return {name: HISTORY[name] for name in request.param}


@pytest.mark.parametrize(
    ("applied_before", "processes"),
    [((), MANY), (("a1",), SOME)],
    indirect=["applied_before"],
    ids=["empty", "half"],
)
def test_many_migrations_do_the_work_once(
    start: Start,
    run: Run,
    make_history: Callable[[Mapping[str, str]], Path],
    postgres_url: str,
    applied_before: Mapping[str, str],
    *,
    processes: int,
) -> None:
    """All succeed, none returns before head, and the rows are inserted once."""
    folder = make_history(applied_before)
    run(["migrate"], cwd=folder, env={"DATABASE_URL": postgres_url, "ENVIRONMENT": "test"})
    make_history(HISTORY)

    codes, seen, stderr = migrate_in_parallel(start, folder, postgres_url, processes)

    assert [0] * processes == codes, stderr
    assert {"a4"} == seen
    assert [(100,)] == query(postgres_url, "SELECT count(*) FROM item")
    assert [("succeeded", 1), ("unchanged", processes - 1)] == query(
        postgres_url,
        "SELECT status, count(*) FROM (SELECT status FROM oneoff_runs ORDER BY started_at DESC "
        f"LIMIT {processes}) AS crowd GROUP BY status ORDER BY status",
    )


def test_a_pooler_is_refused_where_a_revision_leaves_its_transaction(
    run: Run,
    make_history: Callable[[Mapping[str, str]], Path],
    postgres_url: str,
    pgbouncer_url: str,
) -> None:
    """The exit code is 78, nothing is changed, and the error names the setting to use."""
    env = {"DATABASE_URL": pgbouncer_url, "ENVIRONMENT": "test"}

    refused = run(["migrate"], cwd=make_history(HISTORY), env=env)

    assert 78 == refused.returncode
    assert "error[pooler-without-direct-url]: revision a2" in refused.stderr
    assert "try:  set MIGRATION_DATABASE_URL to a URL that connects to the" in refused.stderr
    assert [] == query(postgres_url, "SELECT 1 FROM pg_tables WHERE tablename = 'item'")


def test_migrations_use_the_direct_url_instead_of_the_pooler(
    start: Start,
    make_history: Callable[[Mapping[str, str]], Path],
    postgres_url: str,
    pgbouncer_url: str,
) -> None:
    """Migrations and their lock use MIGRATION_DATABASE_URL."""
    codes, seen, stderr = migrate_in_parallel(
        start,
        make_history(HISTORY),
        pgbouncer_url,
        SOME,
        MIGRATION_DATABASE_URL=postgres_url,
    )

    assert [0] * SOME == codes, stderr
    assert {"a4"} == seen
    assert [(100,)] == query(postgres_url, "SELECT count(*) FROM item")


def test_transactional_revisions_migrate_through_a_pooler(
    start: Start,
    make_history: Callable[[Mapping[str, str]], Path],
    postgres_url: str,
    pgbouncer_url: str,
) -> None:
    """The lock works through the pooler too."""
    insert = INSERT.replace("with op.get_context().autocommit_block():", "if True:")
    history = {"a1": CREATE, "a3": insert.replace("'a2'", "'a1'")}

    codes, _, stderr = migrate_in_parallel(start, make_history(history), pgbouncer_url, SOME)

    assert [0] * SOME == codes, stderr
    assert [(100,)] == query(postgres_url, "SELECT count(*) FROM item")


def test_migrations_of_one_sqlite_file_do_the_work_once(
    start: Start, make_history: Callable[[Mapping[str, str]], Path], sqlite_url: str
) -> None:
    """The lock is a file beside the database."""
    codes, seen, stderr = migrate_in_parallel(start, make_history(HISTORY), sqlite_url, SOME)

    assert [0] * SOME == codes, stderr
    assert {"a4"} == seen
    assert [(100,)] == query(sqlite_url, "SELECT count(*) FROM item")


def test_when_the_holder_is_killed_another_finishes_the_work(
    start: Start, make_history: Callable[[Mapping[str, str]], Path], postgres_url: str
) -> None:
    """It waits until the killed run's statement has ended in the server."""
    folder = make_history({"a1": CREATE, "a2": SLOW.format(600)})
    env = {"DATABASE_URL": postgres_url, "ENVIRONMENT": "test"}
    victim = start(["migrate"], cwd=folder, env=env)
    orphan = wait_for_statement(postgres_url)
    make_history({"a2": SLOW.format(0)})
    heir = start(["migrate", "--lock-wait", "1m"], cwd=folder, env=env)
    victim.kill()
    victim.communicate()

    _, stderr = heir.communicate(timeout=90)

    assert 0 == heir.returncode, stderr
    assert [("begun",)] == query(postgres_url, "SELECT name FROM item")
    assert ["a2"] == head(postgres_url)
    assert [] == query(postgres_url, f"SELECT 1 FROM pg_stat_activity WHERE pid = {orphan}")


def test_no_statement_overlaps_with_that_of_a_killed_run(
    start: Start, make_history: Callable[[Mapping[str, str]], Path], postgres_url: str
) -> None:
    """Even if the server does not check whether its client is alive."""
    outside = SLOW.replace(
        'op.execute("SELECT',
        'with op.get_context().autocommit_block():\n        op.execute("SELECT',
    )
    folder = make_history({"a1": CREATE, "a2": outside.format(4)})
    env = {"DATABASE_URL": postgres_url, "ENVIRONMENT": "test"}
    victim = start(["migrate"], cwd=folder, env=env)
    orphan = wait_for_statement(postgres_url)
    victim.kill()
    victim.communicate()
    make_history({"a2": outside.format(0)})
    heir = start(["migrate", "--lock-wait", "1m"], cwd=folder, env=env)

    overlaps = 0
    while heir.poll() is None:
        overlaps += len(query(postgres_url, _OVERLAP.format(orphan)))
    _, stderr = heir.communicate()

    assert 0 == heir.returncode, stderr
    assert 0 == overlaps
    assert [(2,)] == query(postgres_url, "SELECT count(*) FROM item")


_OVERLAP = """
SELECT 1 FROM pg_stat_activity AS orphan
JOIN pg_stat_activity AS other ON other.pid <> orphan.pid
 AND other.application_name LIKE 'oneoff/lock:migrations/%' AND other.datname = orphan.datname
WHERE orphan.pid = {} AND orphan.state = 'active'
"""


def wait_for_statement(url: str) -> int:
    """Wait until a migration sleeps in the server, and return the process id of its backend."""
    sleeping = (
        "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'oneoff/lock:migrations/%' "
        "AND state = 'active' AND query LIKE '%pg_sleep%'"
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = query(url, sleeping)
        if found:
            return int(found[0][0])
    pytest.fail("the migration did not start")


def test_the_plain_alembic_command_points_to_manage_py(
    make_history: Callable[[Mapping[str, str]], Path],
) -> None:
    """It takes no lock and records no run."""
    folder = make_history(HISTORY)
    (folder / "alembic.ini").write_text((ROOT / "alembic.ini").read_text())

    upgrade = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 != upgrade.returncode
    assert re.search(r"FAILED: .*python manage\.py migrate", upgrade.stdout + upgrade.stderr)
