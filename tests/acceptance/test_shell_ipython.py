"""`shell` with IPython's real prompt on a real terminal."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.acceptance.conftest import ROOT, AtHead
from tests.support.database import query
from tests.support.terminal import Person

CTRL_C, CTRL_D = "\x03", "\x04"
COUNT = "await session.scalar(select(func.count()).select_from(User))"
ADD = "session.add(User(username='ada', email='ada@example.com', password_hash='x'))"
INPUTS = "SELECT number, source FROM oneoff_shell_inputs ORDER BY number"

OpenIPython = Callable[..., Person]


@pytest.fixture
def env(environ: dict[str, str], sqlite_url: str, at_head: AtHead) -> dict[str, str]:
    """Return the environment variables of a process with its own migrated SQLite file."""
    environ |= {"DATABASE_URL": sqlite_url, "ENVIRONMENT": "test", "PROMPT_TOOLKIT_NO_CPR": "1"}
    at_head.bring(sqlite_url)
    return environ


@pytest.fixture
def open_ipython(env: dict[str, str]) -> OpenIPython:
    """Return a function that opens IPython by `manage.py shell WORDS`."""

    def open_shell(*words: str) -> Person:
        person = Person(["shell", *words], cwd=ROOT, env=env)
        person.sees("In [1]: ")
        return person

    return open_shell


def enter(person: Person, number: int, line: str, then: str) -> None:
    """Type the line with this number, and wait for its output and the next prompt."""
    person.types(f"{line}\r")
    person.sees(then)
    person.sees(f"In [{number + 1}]: ")


def test_await_works_and_ctrl_d_exits(open_ipython: OpenIPython, env: dict[str, str]) -> None:
    """The banner names the database. Every cell is recorded."""
    person = open_ipython()

    enter(person, 1, COUNT, "Out[1]: 0\n")
    enter(person, 2, "6 * 7", "Out[2]: 42\n")
    person.types(CTRL_D)

    assert 0 == person.leaves(), person.screen
    assert "read-only: the database refuses writes" in person.screen
    assert [(1, COUNT), (2, "6 * 7")] == query(env["DATABASE_URL"], INPUTS)


@pytest.mark.parametrize("cell", [ADD, f"{ADD}; await session.commit()"])
def test_a_cell_without_write_is_read_only(
    open_ipython: OpenIPython, env: dict[str, str], cell: str
) -> None:
    """With its own commit or not. The error says what to do, and the session continues."""
    person = open_ipython()

    enter(person, 1, cell, "this shell is read-only: exit, and start shell --write\n")
    enter(person, 2, COUNT, "Out[2]: 0\n")
    person.types(CTRL_D)

    assert 0 == person.leaves(), person.screen
    assert [(0,)] == query(env["DATABASE_URL"], "SELECT count(*) FROM users")


def test_a_commit_is_visible_while_the_prompt_is_open(
    open_ipython: OpenIPython, env: dict[str, str]
) -> None:
    """Other connections see it before the shell ends."""
    person = open_ipython("--write", "--confirm")

    enter(person, 1, f"{ADD}; await session.commit(); print('sav' + 'ed')", "saved\n")

    assert [(1,)] == query(env["DATABASE_URL"], "SELECT count(*) FROM users")
    person.types(CTRL_D)
    assert 0 == person.leaves(), person.screen


def test_ctrl_c_cancels_the_line(open_ipython: OpenIPython) -> None:
    """The typed text is discarded, and the session continues."""
    person = open_ipython()

    person.types("1 / 0" + CTRL_C)
    enter(person, 1, "6 * 7", "Out[1]: 42\n")
    person.types(CTRL_D)

    assert 0 == person.leaves(), person.screen
    assert "ZeroDivisionError" not in person.screen


@pytest.mark.parametrize("statement", ["await asyncio.sleep(600)", "[0 for _ in repeat(0)]"])
def test_ctrl_c_cancels_the_cell(open_ipython: OpenIPython, statement: str) -> None:
    """Whether it waits or loops. The session continues."""
    person = open_ipython()
    enter(person, 1, "import asyncio; from itertools import repeat", "")

    person.types(f"print('beg' + 'un'); {statement}\r")
    person.sees("begun\n")
    person.types(CTRL_C)
    person.sees("KeyboardInterrupt\n")
    person.sees("In [3]: ")
    enter(person, 3, COUNT, "Out[3]: 0\n")
    person.types(CTRL_D)

    assert 0 == person.leaves(), person.screen


def test_sigterm_ends_the_shell(open_ipython: OpenIPython, env: dict[str, str]) -> None:
    """Exit code 143, recorded as interrupted."""
    person = open_ipython()

    person.process.send_signal(signal.SIGTERM)

    assert 143 == person.leaves(), person.screen
    sql = "SELECT status, exit_code FROM oneoff_runs WHERE command = 'shell'"
    assert [("interrupted", 143)] == query(env["DATABASE_URL"], sql)


def test_a_cell_can_rerun_one_without_await(open_ipython: OpenIPython) -> None:
    """A cell with `await` can't run inside another; the error says so, and nothing hangs."""
    person = open_ipython()
    enter(person, 1, "print('do' + 'ne')", "done\n")
    enter(person, 2, COUNT, "Out[2]: 0\n")

    enter(person, 3, "%rerun 1", "=== Output: ===\ndone\n")
    enter(person, 4, "%rerun 2", "RuntimeError: this cell has `await`")
    person.types(CTRL_D)

    assert 0 == person.leaves(), person.screen


def test_secrets_are_masked_in_tracebacks_and_history(
    open_ipython: OpenIPython, env: dict[str, str]
) -> None:
    """The history file of IPython has the masked input."""
    env["STRIPE_API_KEY"] = "sk_live_0123456789"
    person = open_ipython()

    enter(person, 1, "raise ValueError('sk_live_0123456789')", "\nValueError: ***\n")
    person.types(CTRL_D)

    assert 0 == person.leaves(), person.screen
    history = f"sqlite:///{env['HOME']}/.ipython/profile_default/history.sqlite"
    assert [("raise ValueError('***')",)] == query(history, "SELECT source_raw FROM history")
