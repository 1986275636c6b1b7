"""Writes that bypass the session are refused too, in dry runs and read-only runs."""

from __future__ import annotations

import pytest

from tests.acceptance.conftest import Run
from tests.acceptance.test_signals import PROJECT, migrated
from tests.support.database import query

__all__ = ["migrated"]


def with_driver(url: str) -> str:
    """Return the URL with the driver, as SQLAlchemy's `create_async_engine` needs it."""
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
def test_another_engine_cannot_write(run: Run, migrated: str, words: list[str], code: str) -> None:
    """Even if the command uses no session, or hides the error."""
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
def test_a_provider_cannot_write(
    run: Run, migrated: str, words: list[str], code: str, when: str
) -> None:
    """The dry run includes the time before and after `handle`."""
    env = {"ASIDE_URL": with_driver(migrated), "ASIDE_WHEN": when}

    done = run(words, cwd=PROJECT, env=env)

    assert 1 == done.returncode, done.stdout + done.stderr
    assert f"error[{code}]" in done.stderr
    assert [(0,)] == query(migrated, "SELECT count(*) FROM item")
