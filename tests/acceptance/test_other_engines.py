"""What a command writes past its session is refused too, where nothing may stay."""

from __future__ import annotations

import pytest

from tests.acceptance.conftest import Run
from tests.acceptance.test_signals import PROJECT, migrated
from tests.support.database import query

__all__ = ["migrated"]


def with_driver(url: str) -> str:
    """Return the URL as SQLAlchemy's own engines want it."""
    drivers = {"sqlite:": "sqlite+aiosqlite:", "postgres:": "postgresql+asyncpg:"}
    scheme, _, rest = url.partition("//")
    return f"{drivers[scheme]}//{rest}"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["aside", "read"], "read-only"),
        (["aside", "plan", "--dry-run"], "read-only"),
        (["aside", "rollback", "--dry-run"], "dry-run-violation"),
        (["aside", "fail", "--dry-run"], "dry-run-violation"),
    ],
)
def test_another_engine_can_not_write_either(
    run: Run, migrated: str, words: list[str], code: str
) -> None:
    """Not by a command that asks for no session, and not if it hides the error."""
    done = run(words, cwd=PROJECT, env={"ASIDE_URL": with_driver(migrated)})

    assert 1 == done.returncode, done.stdout + done.stderr
    assert f"error[{code}]" in done.stderr
    assert [(0,)] == query(migrated, "SELECT count(*) FROM item")


@pytest.mark.parametrize("when", ["open", "close"])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["aside", "provider", "--dry-run"], "dry-run-violation"),
        (["aside", "look"], "read-only"),
    ],
)
def test_a_provider_can_not_write_either(
    run: Run, migrated: str, words: list[str], code: str, when: str
) -> None:
    """What opens before the work and closes after it belongs to the dry run too."""
    env = {"ASIDE_URL": with_driver(migrated), "ASIDE_WHEN": when}

    done = run(words, cwd=PROJECT, env=env)

    assert 1 == done.returncode, done.stdout + done.stderr
    assert f"error[{code}]" in done.stderr
    assert [(0,)] == query(migrated, "SELECT count(*) FROM item")
