"""Processes that a coding agent starts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.acceptance.conftest import ROOT, Run
from tests.support.database import query
from tests.support.terminal import Person


@pytest.fixture
def database(peopled: Path, tmp_path: Path, environ: dict[str, str]) -> str:
    """Copy a database with users for this test, in production, and return its URL."""
    shutil.copyfile(peopled, tmp_path / "shop.sqlite3")
    environ |= {"DATABASE_URL": f"sqlite:///{tmp_path}/shop.sqlite3", "ENVIRONMENT": "production"}
    environ |= {"OPERATOR": "ada", "CLAUDECODE": "1", "ONEOFF_AGENTS": "allow"}
    return environ["DATABASE_URL"]


def test_a_refused_agent_leaves_a_record_with_its_name(run: Run, database: str) -> None:
    """The JSON has the code, the preview, and the request of an approval; the preview works."""
    words = ["user", "promote", "ada", "moderator"]

    refused = run([*words, "--confirm", "--json"])
    envelope = json.loads(refused.stdout)
    preview = run(envelope["error"]["try"][0].split()[2:])

    assert (77, "agent-refused") == (refused.returncode, envelope["error"]["code"])
    assert "--confirm" not in refused.stdout + refused.stderr
    assert [
        "python manage.py user promote ada moderator --json --dry-run",
        "python manage.py approval request --reason TEXT -- user promote ada moderator",
    ] == envelope["error"]["try"]
    assert 0 == preview.returncode, preview.stderr
    who = "SELECT operator, operator_source, status FROM oneoff_runs ORDER BY started_at, id"
    assert [
        ("ada", "setting, agent claude-code", "refused"),
        ("ada", "setting, agent claude-code", "succeeded"),
    ] == query(database, who)[-2:]


def test_an_agent_at_a_terminal_is_not_asked(environ: dict[str, str], database: str) -> None:
    """It is refused before the banner, which names the database."""
    person = Person(["db", "reset"], cwd=ROOT, env=environ)
    code, screen = person.leaves(), person.screen

    assert 77 == code
    assert "error[agent-refused]: db reset may not be run by an agent in production" in screen
    assert "@production" not in screen
    assert "continue" not in screen.lower()
    assert query(database, "SELECT count(*) FROM users") != [(0,)]
