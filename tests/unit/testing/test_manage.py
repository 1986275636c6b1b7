"""Command lines inside a test: their streams, their answers, and what is left of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oneoff.testing import Manage
from oneoff.testing.manage import MemoryTerminal

ROOT = Path(__file__).parents[3]


@pytest.fixture
def manage(tmp_path: Path) -> Manage:
    """Run command lines of the reference project; its database is never opened here."""
    environ = {"DATABASE_URL": f"sqlite:///{tmp_path}/none.sqlite3", "ENVIRONMENT": "test"}
    return Manage("app.project:project", str(ROOT), environ)


async def test_a_help_page_is_no_run(manage: Manage) -> None:
    """Exit code 0, a text, and no outcome."""
    finished = await manage("user promote --help")

    assert (0, "", None) == (finished.exit_code, finished.stderr, finished.outcome)
    assert finished.stdout.startswith("Usage: python manage.py user promote")


async def test_a_line_that_names_no_command_is_an_outcome_too(manage: Manage) -> None:
    """Exit code 2; asking for a result that isn't there shows what was said instead."""
    finished = await manage(["user", "promot"])

    assert (2, "", 0) == (finished.exit_code, finished.stdout, finished.rows)
    with pytest.raises(AssertionError, match="did you mean"):
        _ = finished.result


async def test_variables_are_those_of_the_line_and_gone_after_it(
    manage: Manage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those given to one call win over the fixture's; what the process had is put back."""
    monkeypatch.setenv("LOG_LEVEL", "error")
    before = dict(os.environ)

    finished = await manage("system info --json", environ={"ENVIRONMENT": "staging"})

    assert finished.json["data"]["environment"] == "staging"
    assert before == dict(os.environ)


async def test_answers_are_given_in_order_and_then_input_ends() -> None:
    """The questions stand on standard error."""
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
    """A second read is the end of input, as of a pipe."""
    terminal = MemoryTerminal("zwölf")

    assert ["zwölf".encode(), b""] == [terminal.in_bytes(), terminal.in_bytes()]
    assert "zwölf" == await terminal.read_all()


def test_bytes_may_end_in_the_middle_of_a_letter() -> None:
    """The rest of the letter comes with the next piece."""
    terminal = MemoryTerminal()
    head, tail = "zwö".encode()[:3], "zwö".encode()[3:]

    assert all([terminal.out_bytes(head), terminal.out_bytes(tail)])
    assert "zwö" == terminal.stdout.getvalue()
