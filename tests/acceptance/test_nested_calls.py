"""Commands that call other commands: the same rules apply to both."""

from __future__ import annotations

import pytest

from tests.acceptance.conftest import Run
from tests.acceptance.test_signals import PROJECT, migrated
from tests.support.database import query

__all__ = ["migrated"]


@pytest.mark.parametrize("what", ["nest inner", "db rollback"])
def test_in_a_dry_run_the_inner_command_is_a_dry_run_too(
    run: Run, migrated: str, what: str
) -> None:
    """Also a command with a lock, whose connections have another name."""
    done = run(["nest", "outer", what, "--dry-run"], cwd=PROJECT)

    assert (0, True) == (done.returncode, done.stdout.startswith("DRY RUN")), done.stderr
    assert [(0,)] == query(migrated, "SELECT count(*) FROM item")
    assert [("0001",)] == query(migrated, "SELECT version_num FROM alembic_version")


def test_the_inner_command_commits_and_has_its_own_record(run: Run, migrated: str) -> None:
    """Unless the outer run is a dry run."""
    done = run(["nest", "outer"], cwd=PROJECT)

    assert 0 == done.returncode, done.stderr
    assert [("inner",)] == query(migrated, "SELECT name FROM item")
    recorded = "SELECT command, status FROM oneoff_runs WHERE command LIKE 'nest%' ORDER BY command"
    assert [("nest inner", "succeeded"), ("nest outer", "succeeded")] == query(migrated, recorded)


def test_after_a_failed_dry_run_the_next_call_commits(run: Run, migrated: str) -> None:
    """The mode of a failed inner run does not affect later calls."""
    done = run(["nest", "preview-first"], cwd=PROJECT)

    assert 0 == done.returncode, done.stderr
    assert [("inner",)] == query(migrated, "SELECT name FROM item")


@pytest.mark.parametrize("words", [[], ["--preview"]])
def test_a_read_only_run_can_not_call_a_command_that_writes(
    run: Run, migrated: str, words: list[str]
) -> None:
    """A dry run of it would write too, before its transaction is rolled back."""
    done = run(["nest", "reader", *words], cwd=PROJECT)

    assert "nest reader is a read-only run, so it can't call nest inner" in done.stderr
    assert 1 == done.returncode
    assert [(0,)] == query(migrated, "SELECT count(*) FROM item")
