"""Run commands as an operator does, on a SQLite file: `pytest tests/test_cli_smoke.py`.

Each command is a separate process. The tests need no servers and no other fixtures.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
Manage = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Manage:
    """Return a function that runs `python manage.py WORDS` on a database for this test."""
    environ = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": f"sqlite:///{tmp_path}/smoke.sqlite3",
        "ENVIRONMENT": "development",
        "USER_PASSWORD": "correct horse battery",
    }

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_help_lists_the_commands_of_framework_and_project(run: Manage) -> None:
    """Commands of both are listed with their summaries."""
    help_ = run("help")

    assert 0 == help_.returncode, help_.stderr
    assert "migrate" in help_.stdout
    assert "Change a user's role." in help_.stdout


def test_a_mistyped_command_is_a_usage_error_with_a_suggestion(run: Manage) -> None:
    """The exit code is 2, and standard output is empty."""
    wrong = run("user", "promot", "ada", "admin")

    assert (2, "") == (wrong.returncode, wrong.stdout)
    assert "user promote" in wrong.stderr


def test_the_first_commands_on_a_new_database_work(run: Manage) -> None:
    """Migrate, create a user, preview a promotion, promote the user, and promote again."""
    said = [
        (step.returncode, step.stdout.splitlines()[:1], step.stderr)
        for step in (
            run("migrate"),
            run("user", "create", "ada", "ada@example.com", "--quiet"),
            run("user", "promote", "ada", "admin", "--dry-run", "--quiet"),
            run("user", "promote", "ada", "admin"),
            run("user", "promote", "ada", "admin", "--confirm"),
            run("user", "promote", "ada", "admin", "--confirm"),
            run("user", "list"),
        )
    ]

    assert [0, 0, 0, 77, 0, 0, 0] == [code for code, _, _ in said], said
    assert ["ada is now admin (was user)"] == said[4][1]
    assert ["ada is already admin"] == said[5][1]
    assert "username" in said[6][1][0]
