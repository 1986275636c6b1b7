"""Commands that need confirmation: they never hang, and only the right answer confirms them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.acceptance.conftest import ROOT, Run
from tests.support.database import query
from tests.support.people import leave_jobs
from tests.support.terminal import Person

LINES = {
    "user promote": "user promote ada moderator",
    "db reset": "db reset",
    "cache clear": "cache clear --prefix shop:",
}
"""One command of each kind: y/N, the database's name, and Redis. The others use the same gate;
tests/commands/test_confirmation.py tests each of them."""

QUESTIONS = {
    "user promote": "Continue? [y/N] ",
    "db reset": "Type shop@test to continue: ",
    "cache clear": "Continue? [y/N] ",
}
CTRL_C, CTRL_D = "\x03", "\x04"


@pytest.fixture
def database(peopled: Path, tmp_path: Path, environ: dict[str, str], redis_url: str) -> str:
    """Copy the database for this test, store two jobs in Redis, and return the database's URL."""
    shutil.copyfile(peopled, tmp_path / "shop.sqlite3")
    environ |= {"DATABASE_URL": f"sqlite:///{tmp_path}/shop.sqlite3", "ENVIRONMENT": "test"}
    environ |= {"REDIS_URL": redis_url}
    leave_jobs(redis_url)
    return environ["DATABASE_URL"]


def state(url: str) -> list[tuple[object, ...]]:
    """Return the rows that these commands could change."""
    users = query(url, "SELECT username, role, active, password_hash FROM users ORDER BY id")
    keys = query(url, "SELECT id, expires_at, revoked_at FROM api_keys ORDER BY id")
    accounts = query(url, "SELECT name, active FROM service_accounts ORDER BY id")
    return [*users, *keys, *accounts, *query(url, "SELECT * FROM alembic_version")]


@pytest.mark.parametrize("name", LINES)
def test_without_a_terminal_only_the_right_option_confirms(
    run: Run, database: str, name: str
) -> None:
    """A pipe, /dev/null, CI and --no-input are refused with 77; the suggested command works."""
    words, before = LINES[name].split(), state(database)
    refusals = [
        run(words),
        run(words, input="y\nyes\nshop@test\n"),
        run(words, env={"CI": "1"}),
        run([*words, "--no-input"], input="y\n"),
        run([*words, "--confirm=shop@production"]),
        run([*words, "--confirm=SHOP@test"], input="y\n"),
        run([*words, "--confirm="]),
    ]

    assert [77] * len(refusals) == [refusal.returncode for refusal in refusals]
    assert before == state(database)
    passing = re.findall(r"try:  python manage.py (.*--confirm.*)", refusals[0].stderr)
    done = run(passing[0].split())
    assert 0 == done.returncode, done.stderr


@pytest.mark.parametrize("name", LINES)
def test_on_a_terminal_only_the_right_answer_confirms(
    environ: dict[str, str], database: str, name: str
) -> None:
    """Enter, no, a similar answer, end of input and Ctrl-C change nothing."""
    before = state(database)
    right = "y" if "y/N" in QUESTIONS[name] else "shop@test"
    wrong = {f"{right}x\n": 77, "\n": 77, "no\n": 77, CTRL_D: 77, CTRL_C: 130}
    codes = {answer: at_terminal(name, answer, environ) for answer in wrong}
    assert wrong == codes
    assert before == state(database)

    assert 0 == at_terminal(name, f"{right}\n", environ)


def at_terminal(name: str, answer: str, environ: dict[str, str]) -> int:
    """Answer the command's question at a terminal, and return its exit code."""
    person = Person(LINES[name].split(), cwd=ROOT, env=environ)
    person.sees(QUESTIONS[name])
    assert "environment: test" in person.screen
    assert "preview:" in person.screen
    person.types(answer)
    return person.leaves()


def test_no_at_the_prompt_is_not_shown_as_an_error(environ: dict[str, str], database: str) -> None:
    """The operator has decided, so nothing is wrong. The exit code is that of a refusal."""
    person = Person(["user", "promote", "ada", "moderator"], cwd=ROOT, env=environ)
    person.sees(QUESTIONS["user promote"])
    person.types("n\n")

    assert 77 == person.leaves()
    assert person.screen.endswith("\nuser promote was declined; nothing was changed\n")
    assert "error" not in person.screen.rpartition("[y/N]")[2].replace('"error": "declined"', "")


@pytest.mark.parametrize("key", [CTRL_C, CTRL_D])
def test_after_ctrl_c_or_ctrl_d_the_error_has_a_line_of_its_own(
    environ: dict[str, str], database: str, key: str
) -> None:
    """The cursor is still behind the question."""
    person = Person(["user", "promote", "ada", "moderator"], cwd=ROOT, env=environ)
    person.sees(QUESTIONS["user promote"])
    person.types(key)

    assert person.leaves() in {77, 130}
    assert re.search(r"\[y/N\] (\^C)?\n", person.screen), person.screen
    assert re.search(r"^error\[", person.screen, re.MULTILINE), person.screen


def test_in_ci_no_question_is_asked_on_a_terminal(environ: dict[str, str], database: str) -> None:
    """Some CI systems give a job a terminal, but no person can answer."""
    person = Person(["user", "promote", "ada", "admin"], cwd=ROOT, env={**environ, "CI": "true"})

    assert 77 == person.leaves()
    assert "Continue?" not in person.screen


def test_a_password_is_not_echoed(environ: dict[str, str], database: str) -> None:
    """The typed characters do not appear on the screen."""
    words = ["user", "create", "eve", "eve@example.com"]
    person = Person(words, cwd=ROOT, env=environ)

    person.sees("Password: ")
    person.types("correct horse battery\n")
    person.sees("Password (again): ")
    person.types("correct horse battery\n")

    assert 0 == person.leaves()
    assert "correct" not in person.screen
    assert "created eve (user)" in person.screen


def test_a_destructive_command_in_production_needs_break_glass(run: Run, database: str) -> None:
    """`db reset` in production needs a reason and the name of the target."""
    words = ["db", "reset", "--confirm=shop@production", "--no-backup", "rehearsed"]
    env = {"ENVIRONMENT": "production"}

    refused = run(words, env=env)
    done = run([*words, "--break-glass", "rehearsed"], env=env)

    assert (77, 0) == (refused.returncode, done.returncode), done.stderr
    assert '--break-glass "REASON"' in refused.stderr
    assert [("rehearsed",)] == query(
        database,
        "SELECT break_glass FROM oneoff_runs WHERE status = 'succeeded' AND command = 'db reset'",
    )


def test_a_dry_run_needs_no_confirmation_in_production(run: Run, database: str) -> None:
    """It changes nothing."""
    before = state(database)

    done = run(["db", "reset", "--dry-run"], env={"ENVIRONMENT": "production"})

    assert (0, before) == (done.returncode, state(database)), done.stderr
