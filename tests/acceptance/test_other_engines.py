"""What a command writes past its session is refused too, where nothing may stay."""

from __future__ import annotations

import pytest

from tests.acceptance.conftest import Run
from tests.acceptance.test_signals import PROJECT, migrated
from tests.support.database import query

__all__ = ["migrated"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["aside", "read"], "read-only"),
        (["aside", "plan", "--dry-run"], "read-only"),
        (["aside", "rollback", "--dry-run"], "dry-run-violation"),
    ],
)
def test_another_engine_can_not_write_either(
    run: Run, migrated: str, words: list[str], code: str
) -> None:
    """Not by a command that asks for no session, and not if it hides the error."""
    driver = {"sqlite:": "sqlite+aiosqlite:", "postgres:": "postgresql+asyncpg:"}
    scheme, _, rest = migrated.partition("//")

    done = run(words, cwd=PROJECT, env={"ASIDE_URL": f"{driver[scheme]}//{rest}"})

    assert 1 == done.returncode, done.stdout + done.stderr
    assert f"error[{code}]" in done.stderr
    assert [(0,)] == query(migrated, "SELECT count(*) FROM item")
