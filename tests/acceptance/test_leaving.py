"""A command that exits the process itself has failed."""

from __future__ import annotations

import pytest

from tests.acceptance.conftest import Run
from tests.acceptance.test_signals import PROJECT, migrated
from tests.support.database import query

__all__ = ["migrated"]


@pytest.mark.parametrize("where", ["handle", "task", "callback", "thread"])
def test_exiting_with_0_is_a_failure_that_is_rolled_back_and_recorded(
    run: Run, migrated: str, where: str
) -> None:
    """SystemExit stops the event loop, but the run is still closed."""
    done = run(["desert", where], cwd=PROJECT)

    assert 1 == done.returncode
    assert "error[unexpected-error]: SystemExit: 0" in done.stderr
    assert "Traceback" not in done.stderr
    assert [(0,)] == query(migrated, "SELECT count(*) FROM item")
    assert [("failed", 1)] == query(
        migrated, "SELECT status, exit_code FROM oneoff_runs WHERE command = 'desert'"
    )
