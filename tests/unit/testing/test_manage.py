"""Run command lines in a test: streams, answers and environment variables."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oneoff import Project
from oneoff.testing import Manage
from oneoff.testing.manage import MemoryTerminal

ROOT = Path(__file__).parents[3]


@pytest.fixture
def manage(tmp_path: Path) -> Manage:
    """Return `manage` for the reference project. These tests do not open its database."""
    environ = {"DATABASE_URL": f"sqlite:///{tmp_path}/none.sqlite3", "ENVIRONMENT": "test"}
    return Manage("app.project:project", str(ROOT), environ)


async def test_a_help_page_has_no_outcome(manage: Manage) -> None:
    """The exit code is 0."""
    finished = await manage("user promote --help")

    assert (0, "", None) == (finished.exit_code, finished.stderr, finished.outcome)
    assert finished.stdout.startswith("Usage: python manage.py user promote")


async def test_an_unknown_command_has_an_outcome(manage: Manage) -> None:
    """The exit code is 2. Reading its missing result fails with standard error."""
    finished = await manage(["user", "promot"])

    assert (2, "", 0) == (finished.exit_code, finished.stdout, finished.rows)
    with pytest.raises(AssertionError, match="did you mean"):
        _ = finished.result


async def test_environment_variables_are_restored_after_a_call(
    manage: Manage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables of the call override those of the fixture."""
    monkeypatch.setenv("LOG_LEVEL", "error")
    before = dict(os.environ)

    finished = await manage("system info --json", environ={"ENVIRONMENT": "staging"})

    assert finished.json["data"]["environment"] == "staging"
    assert before == dict(os.environ)


async def test_answers_are_given_in_order_and_then_input_ends() -> None:
    """The questions are written to standard error."""
    terminal = MemoryTerminal(answers=["yes", "secret"])

    given = [
        await terminal.ask("sure?"),
        await terminal.ask_secret("key?"),
        await terminal.ask("?"),
    ]

    assert ["yes", "secret", None] == given
    assert "sure?\nkey?\n?\n" == terminal.stderr.getvalue()
    assert (True, False) == (terminal.interactive, MemoryTerminal().interactive)


async def test_standard_input_is_read_once_as_bytes() -> None:
    """A second read returns nothing, as for a pipe."""
    terminal = MemoryTerminal("zwölf")

    assert ["zwölf".encode(), b""] == [terminal.in_bytes(), terminal.in_bytes()]
    assert "zwölf" == await terminal.read_all()


def test_bytes_may_be_split_in_the_middle_of_a_character() -> None:
    """The next bytes complete it."""
    terminal = MemoryTerminal()
    head, tail = "zwö".encode()[:3], "zwö".encode()[3:]

    assert all([terminal.out_bytes(head), terminal.out_bytes(tail)])
    assert "zwö" == terminal.stdout.getvalue()


URL_OF_THE_APPLICATION = "sqlite:///of-the-application.sqlite3"


PROJECT = Project("shop", commands=(), database_url=f"{__name__}:URL_OF_THE_APPLICATION")


@pytest.mark.parametrize("project", ["app.project:project", f"{__name__}:PROJECT"])
async def test_a_test_never_reaches_the_database_of_the_application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: str
) -> None:
    """Neither by a variable of the developer nor by the code that provides the URL."""
    monkeypatch.setenv("ONEOFF_DATABASE_URL", "sqlite:///of-the-developer.sqlite3")
    environ = {"DATABASE_URL": f"sqlite:///{tmp_path}/of-the-test.sqlite3", "ENVIRONMENT": "test"}

    finished = await Manage(project, str(ROOT), environ)("system info --json")

    assert finished.json["data"]["database"].endswith("of-the-test.sqlite3")
