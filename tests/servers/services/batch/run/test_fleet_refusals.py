"""`--fleet` where it is impossible: the run is refused before it starts a batch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from oneoff.testing import Manage
from tests.support.database import query
from tests.support.servers import Postgres
from tests.support.tally_project import NAME, ROOT, make_tally

FLEET = "tally add --shards 4 --fleet --confirm"
PARENT = "SELECT id FROM oneoff_batches WHERE parent = ''"


@pytest.fixture
def environ(
    postgres_server: Postgres, migrated_postgres: str, redis_url: str
) -> Iterator[dict[str, str]]:
    """Return the variables of a PostgreSQL with a small tally table, and an empty Redis."""
    with postgres_server.database(migrated_postgres) as name:
        url = postgres_server.url(name)
        make_tally(url, 10)
        yield {
            "DATABASE_URL": url,
            "ENVIRONMENT": "test",
            "OPERATOR": "tester",
            "LOG_LEVEL": "error",
            "REDIS_URL": redis_url,
        }


@pytest.fixture
def url(environ: dict[str, str]) -> str:
    """Return the database's URL."""
    return environ["DATABASE_URL"]


async def test_a_command_that_workers_can_not_run_is_refused(
    environ: dict[str, str], url: str
) -> None:
    """With all reasons, also in a dry run."""
    for last in ("--confirm", "--dry-run"):
        refused = await Manage(NAME, str(ROOT), {**environ, "TALLY_KEY": "k"})(
            f"tally sign --shards 2 --fleet --lock-timeout 1s {last}"
        )
        assert 2 == refused.exit_code
        for reason in (
            "commands that take secrets",
            "only one run can hold 'signing'",
            "batch_timeout of at most 100 s",
            "does not send limits to workers",
        ):
            assert reason in refused.stderr
    assert [] == query(url, PARENT)


async def test_a_fleet_needs_redis_and_a_worker_that_takes_shards(
    environ: dict[str, str], url: str
) -> None:
    """Exit code 78; the message names the missing part, and no batch is started."""
    bare = {name: value for name, value in environ.items() if name != "REDIS_URL"}
    unset = await Manage(NAME, str(ROOT), bare)(FLEET)
    unwilling = await Manage(NAME.replace(":project", ":without_shards"), str(ROOT), environ)(FLEET)

    assert (78, 78) == (unset.exit_code, unwilling.exit_code)
    assert "REDIS_URL" in unset.stderr
    assert "error[worker-without-shards]" in unwilling.stderr
    assert [] == query(url, PARENT)


async def test_a_fleet_on_sqlite_is_refused(
    environ: dict[str, str], migrated_sqlite: Path, tmp_path: Path
) -> None:
    """Exit code 2; the message has the reason."""
    path = shutil.copyfile(migrated_sqlite, tmp_path / "fleet.sqlite3")
    on_sqlite = {**environ, "DATABASE_URL": f"sqlite:///{path}"}

    refused = await Manage(NAME, str(ROOT), on_sqlite)(FLEET)

    assert 2 == refused.exit_code
    assert "--fleet needs PostgreSQL: a SQLite file has one writer at a time" in refused.stderr
