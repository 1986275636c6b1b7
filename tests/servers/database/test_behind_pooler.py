"""Batches and imports work through pgbouncer in transaction mode."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from oneoff.testing import Manage
from tests.support.database import query
from tests.support.imports import account, bytes_of, load, names, write_csv
from tests.support.servers import PgBouncer, Postgres
from tests.support.tally_project import NAME, ROOT, execute, make_tally, times_done

ROWS = 1_000
WATCH = """
CREATE TABLE seen (direct boolean, kept boolean);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO seen SELECT NEW.n > 1, EXISTS (SELECT FROM pg_prepared_statements);
  RETURN NULL;
END $$;
CREATE TRIGGER see AFTER UPDATE ON tally FOR EACH ROW EXECUTE FUNCTION see();
"""


@pytest.fixture
def environ(
    postgres_server: Postgres, pgbouncer: PgBouncer, migrated_postgres: str
) -> Iterator[dict[str, str]]:
    """Return the variables of a migrated database with a tally in it, behind the pooler."""
    with postgres_server.database(migrated_postgres) as name:
        make_tally(postgres_server.url(name), ROWS)
        yield {"DATABASE_URL": pgbouncer.url(name), "ENVIRONMENT": "test", "LOG_LEVEL": "error"}


async def test_a_file_is_imported_and_exported(
    environ: dict[str, str], manage_project: tuple[str, str], tmp_path: Path
) -> None:
    """`data import` uses COPY, a staging table and batches."""
    manage = Manage(*manage_project, environ)
    accounts = [account(number, f"a{number}") for number in range(1, 6)]
    first = write_csv(tmp_path / "first.csv", *accounts)
    second = write_csv(tmp_path / "second.csv", account(5, "five"), account(6, "six"))
    third = write_csv(tmp_path / "third.csv", account(7, "seven"), account(8, "eight"))

    copied = await load(manage, first)
    updated = await load(manage, second, "--on-conflict", "update")
    resumed = await load(manage, third, "--resume", "--batch-size", "1")
    again = await load(manage, third, "--resume", "--batch-size", "1")
    exported = await manage(f"data export service_accounts -o {tmp_path / 'out.csv'}")

    assert [5, 2, 2, 0] == [done.rows for done in (copied, updated, resumed, again)]
    assert ["a1", "a2", "a3", "a4", "five", "six", "seven", "eight"] == names(manage)
    assert (0, 9) == (exported.exit_code, bytes_of(tmp_path / "out.csv").count(b"\n"))


async def test_shards_of_several_runs_share_the_connections_of_the_pooler(
    environ: dict[str, str],
) -> None:
    """Runs with several shards and runs with one do each row once."""
    tally = Manage(NAME, str(ROOT), environ)

    together = await tally("tally add --shards 4 --confirm")
    done = await asyncio.gather(
        *(tally(f"tally add --name b --shard {number}/3 --confirm") for number in (1, 2, 3))
    )

    assert (0, ROWS) == (together.exit_code, together.rows), together.stderr
    assert ([0, 0, 0], ROWS) == ([each.exit_code for each in done], sum(each.rows for each in done))
    assert {2: ROWS} == times_done(environ["DATABASE_URL"])


async def test_statements_are_kept_prepared_only_without_a_pooler(
    environ: dict[str, str], postgres_server: Postgres
) -> None:
    """Behind a pooler, the next server process would not know them."""
    pooled = environ["DATABASE_URL"]
    direct = postgres_server.url(pooled.rpartition("/")[2])
    execute(direct, WATCH)

    for url in (pooled, direct):
        done = await Manage(NAME, str(ROOT), environ | {"DATABASE_URL": url})("tally add --confirm")
        assert (0, ROWS) == (done.exit_code, done.rows), done.stderr

    seen = query(direct, "SELECT DISTINCT direct, kept FROM seen ORDER BY direct")
    assert [(False, False), (True, True)] == seen
