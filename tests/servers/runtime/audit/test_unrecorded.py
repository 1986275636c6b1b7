"""Runs whose record can't be written, with a role that may only read and on a standby server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from oneoff.testing import Manage
from tests.support.servers import Postgres, running_standby

GRANTS = """
CREATE ROLE reader LOGIN PASSWORD 'p@ss%word';
GRANT USAGE ON SCHEMA public TO reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader;
GRANT INSERT, DELETE ON users TO reader;
"""
LOOKING = {
    "migrate --check": 0,
    "migrate --plan": 0,
    "migrate --dry-run": 0,
    "makemigrations --check": 0,
    "makemigrations -m change --dry-run": 0,
    "user list": 0,
    "shell -c 'print(await session.scalar(text(\"SELECT 1\")))'": 0,
    "db shell -c 'SELECT 1'": 0,
    "dbshell -c 'DELETE FROM users'": 1,
}
WRITING = (
    "migrate",
    "user create ada ada@example.com --generate-password",
    "shell --write -c 'pass'",
    "db shell --write -c 'SELECT 1'",
)


@pytest.fixture(params=["role", "standby"])
def reading(
    request: pytest.FixtureRequest,
    manage_project: tuple[str, str],
    migrated_postgres: str,
    postgres_server: Postgres,
) -> Iterator[Manage]:
    """Run command lines where the database refuses the record of a run."""
    with postgres_server.database(migrated_postgres) as name:
        if request.param == "role":
            postgres_server.psql(GRANTS, name)
            url = postgres_server.url(name).replace(f"{postgres_server.user}:", "reader:")
            yield Manage(*manage_project, {"DATABASE_URL": url, "ENVIRONMENT": "test"})
            postgres_server.psql("DROP OWNED BY reader; DROP ROLE reader", name)
        else:
            with running_standby(postgres_server) as standby:
                url = postgres_server.url(name)
                url = url.replace(f":{postgres_server.port}/", f":{standby.port}/")
                yield Manage(*manage_project, {"DATABASE_URL": url, "ENVIRONMENT": "test"})


async def test_what_only_reads_works_with_a_warning(reading: Manage) -> None:
    """And `db shell` is read-only, so that it writes nothing without a record."""
    ended = {}
    for line in LOOKING:
        finished = await reading(line)
        ended[line] = finished.exit_code
        warned = "recorded in the log only: " in finished.stderr
        assert warned or finished.exit_code, (line, finished.stderr)

    assert LOOKING == ended


async def test_what_writes_is_refused(reading: Manage) -> None:
    """The record comes before the work."""
    for line in WRITING:
        finished = await reading(line)
        assert finished.exit_code, line
        assert "recorded in the log only" not in finished.stderr


async def test_a_db_shell_is_refused_if_audit_is_required(reading: Manage) -> None:
    """It could not be recorded."""
    finished = await reading("db shell -c 'SELECT 1'", environ={"AUDIT_REQUIRED": "true"})

    assert 77 == finished.exit_code
    assert "error[audit-required]" in finished.stderr


async def test_a_dry_run_that_writes_is_not_told_to_declare_that_it_writes(
    reading: Manage,
) -> None:
    """It has declared it. The database refuses the write, and a dry run needs one too."""
    finished = await reading("user create ada ada@example.com --generate-password --dry-run")

    assert 78 == finished.exit_code, finished.stderr
    assert "Access.WRITE" not in finished.stderr


async def test_the_warning_about_a_refused_run_says_that_only_the_log_records_it(
    reading: Manage,
) -> None:
    """`audit list` does not show it at all."""
    refused = await reading("system maintenance on --json")

    assert 77 == refused.exit_code
    assert refused.json["warnings"][-1].startswith("this run is recorded in the log only: ")
    assert "audit list" not in refused.stdout
