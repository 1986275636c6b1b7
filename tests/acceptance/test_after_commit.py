"""After its commit, a run can no longer fail."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.acceptance.conftest import Run
from tests.acceptance.test_other_engines import with_driver
from tests.acceptance.test_signals import PROJECT, migrated, start_with_grace, wait_for
from tests.support.database import query

__all__ = ["migrated"]


def state(url: str) -> tuple[int, list[str]]:
    """Return how many rows the work has written, and the states of its runs."""
    items = query(url, "SELECT count(*) FROM item")[0][0]
    found = query(url, "SELECT status FROM oneoff_runs WHERE command = 'aside save'")
    return int(items), [str(row[0]) for row in found]


def test_a_resource_that_can_not_be_closed_causes_only_a_warning(run: Run, migrated: str) -> None:
    """With another exit code, an operator would run the command again."""
    env = {"ASIDE_URL": with_driver(migrated), "ASIDE_WHEN": "fail"}

    done = run(["aside", "save"], cwd=PROJECT, env=env)

    warning = "the work is done, but closing a resource failed: ValueError: can't be closed"
    assert (0, "saved\n") == (done.returncode, done.stdout)
    assert warning in done.stderr
    assert (1, ["succeeded"]) == state(migrated)
    message = query(migrated, "SELECT message FROM oneoff_runs WHERE command = 'aside save'")
    assert [("saved; closing a resource failed: ValueError: can't be closed",)] == message


@pytest.mark.parametrize(
    ("signum", "options"),
    [(signal.SIGTERM, []), (signal.SIGINT, []), (None, ["--timeout", "3s"])],
)
def test_a_run_that_is_stopped_while_it_closes_has_succeeded(
    environ: dict[str, str],
    migrated: str,
    tmp_path: Path,
    signum: signal.Signals | None,
    options: list[str],
) -> None:
    """The work is already committed when the signal or the deadline comes, or a resource hangs."""
    marker = tmp_path / "closing"
    environ |= {
        "ASIDE_URL": with_driver(migrated),
        "ASIDE_WHEN": "hang",
        "ASIDE_MARKER": str(marker),
    }
    process = start_with_grace(8, environ, "aside", "save", *options)
    wait_for(marker, process)

    if signum is not None:
        process.send_signal(signum)
    out, errors = process.communicate(timeout=60)

    assert 0 == process.returncode, errors
    assert "rolled back" not in errors
    assert (1, ["succeeded"]) == state(migrated)
    assert "saved\n" == out


WAIT_LONG = """
CREATE FUNCTION wait_long() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(600); RETURN NULL; END $$
"""
WAIT_IN_COMMIT = """
CREATE CONSTRAINT TRIGGER wait_long AFTER INSERT ON item DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION wait_long()
"""
IN_COMMIT = "SELECT count(*) FROM pg_stat_activity WHERE query = 'COMMIT;' AND state = 'active'"


@pytest.mark.parametrize(("signum", "options"), [(signal.SIGTERM, []), (None, ["--timeout", "3s"])])
def test_a_process_that_is_ended_during_the_commit_is_not_worth_a_retry(
    environ: dict[str, str],
    migrated: str,
    tmp_path: Path,
    signum: signal.Signals | None,
    options: list[str],
) -> None:
    """The work may be committed, so the exit code is 1, and neither 143 nor 75."""
    if migrated.startswith("sqlite"):
        pytest.skip("a commit of SQLite waits for no server")
    query(migrated, WAIT_LONG)
    query(migrated, WAIT_IN_COMMIT)
    words = ("fill", str(tmp_path / "marker"), "--wait-in", "nothing", *options)
    process = start_with_grace(1, environ, *words)
    while query(migrated, IN_COMMIT) == [(0,)]:
        assert process.poll() is None, process.communicate()

    if signum is not None:
        process.send_signal(signum)
    process.communicate(timeout=60)

    assert 1 == process.returncode
