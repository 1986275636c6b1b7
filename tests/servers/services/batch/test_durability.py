"""Which commits of a batch wait for the disk, as seen by the server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from oneoff.testing import Manage
from tests.support.database import query
from tests.support.servers import Postgres
from tests.support.tally_project import ROWS, execute, make_tally

WATCH = """
CREATE TABLE seen (status text, waits text);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO seen VALUES (
    to_jsonb(NEW) ->> 'status', current_setting('synchronous_commit')
  );
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER see AFTER UPDATE ON oneoff_batches
  INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION see();
CREATE CONSTRAINT TRIGGER see AFTER UPDATE ON oneoff_runs
  INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION see();
"""
SEEN = """
SELECT DISTINCT status, waits FROM seen
WHERE status IN ('finished', 'succeeded') OR waits = 'off'
"""


@pytest.fixture
def url(migrated_postgres: str, postgres_server: Postgres) -> Iterator[str]:
    """Return the URL of a database with triggers that record each `synchronous_commit`."""
    with postgres_server.database(migrated_postgres) as name:
        url = postgres_server.url(name)
        make_tally(url, ROWS)
        execute(url, WATCH)
        yield url


@pytest.fixture
def manage_environ(url: str) -> dict[str, str]:
    """Return the environment of the commands."""
    return {"DATABASE_URL": url, "ENVIRONMENT": "test"}


@pytest.mark.parametrize("shards", ["", "--shards 2"])
async def test_only_the_commit_of_the_last_range_waits(
    tally: Manage, url: str, shards: str
) -> None:
    """The write-ahead log is in order, so the last commit makes all earlier ones durable too.

    If it did not wait, a crash of the server could undo rows of a batch that is reported finished.
    """
    done = await tally(f"tally raise-all {shards} --confirm")

    assert (0, ROWS) == (done.exit_code, done.rows), done.stderr
    expected = {("running", "off"), ("finished", "on"), ("succeeded", "on")}
    assert expected == set(query(url, SEEN))


async def test_every_commit_of_rows_changed_in_python_waits(tally: Manage, url: str) -> None:
    """The code may have effects outside the database, which a crash does not undo."""
    done = await tally("tally add --confirm")

    assert (0, ROWS) == (done.exit_code, done.rows), done.stderr
    assert {("finished", "on"), ("succeeded", "on")} == set(query(url, SEEN))
