"""`shell` in a real process on a real terminal: keys, signals, and saved rows."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.conftest import ROOT, AtHead
from tests.support.database import query
from tests.support.terminal import Person

CTRL_C, CTRL_D = "\x03", "\x04"
PROMPT = ">>> "
COUNT = "(await session.execute(select(func.count()).select_from(User))).scalar()"
ADD = (
    "session.add(User(username='ada', email='ada@example.com', password_hash='x')); "
    "await session.commit()"
)

DEFERRED = (
    "CREATE TABLE parent (id integer PRIMARY KEY)",
    "CREATE TABLE child (id integer REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
)

OpenPrompt = Callable[..., Person]


@pytest.fixture
def env(environ: dict[str, str], sqlite_url: str, at_head: AtHead) -> dict[str, str]:
    """Return the environment variables of a process with its own migrated SQLite file."""
    environ |= {"DATABASE_URL": sqlite_url, "ENVIRONMENT": "test"}
    at_head.bring(sqlite_url)
    return environ


@pytest.fixture
def open_prompt(env: dict[str, str]) -> OpenPrompt:
    """Return a function that opens the plain prompt of `manage.py shell WORDS`."""

    def open_shell(*words: str) -> Person:
        person = Person(["shell", "--plain", *words], cwd=ROOT, env=env)
        person.sees(PROMPT)
        return person

    return open_shell


def enter(person: Person, line: str, then: str) -> None:
    """Type a line, and wait for its output and the next prompt."""
    person.types(f"{line}\r")
    person.sees(f"{then}\n{PROMPT}")


def test_await_works_at_the_prompt(open_prompt: OpenPrompt) -> None:
    """The banner lists the names that are defined. Ctrl-D exits with code 0."""
    person = open_prompt()

    enter(person, COUNT, "\n0")
    person.types(CTRL_D)

    assert 0 == person.leaves(), person.screen
    assert "read-only" in person.screen
    assert "ready: session, select, " in person.screen


def test_ctrl_c_cancels_the_line(open_prompt: OpenPrompt) -> None:
    """The typed text is discarded, and the session continues."""
    person = open_prompt()

    person.types("1 / 0" + CTRL_C)
    person.sees(f"KeyboardInterrupt\n{PROMPT}")
    enter(person, "6 * 7", "\n42")
    person.types(CTRL_D)

    assert 0 == person.leaves(), person.screen
    assert "ZeroDivisionError" not in person.screen


@pytest.mark.parametrize("statement", ["await asyncio.sleep(600)", "[0 for _ in repeat(0)]"])
def test_ctrl_c_cancels_the_statement(open_prompt: OpenPrompt, statement: str) -> None:
    """Whether it waits or loops. The session continues."""
    person = open_prompt()
    enter(person, "import asyncio; from itertools import repeat; print('o' + 'k')", "\nok")

    person.types(f"print('beg' + 'un'); {statement}\r")
    person.sees("begun\n")
    person.types(CTRL_C)
    person.sees(f"KeyboardInterrupt\n{PROMPT}")
    enter(person, "6 * 7", "\n42")
    person.types(CTRL_D)

    assert 0 == person.leaves(), person.screen


def test_a_commit_is_visible_while_the_prompt_is_open(
    open_prompt: OpenPrompt, env: dict[str, str]
) -> None:
    """Other connections see it before the shell ends."""
    person = open_prompt("--write", "--confirm")

    enter(person, f"{ADD}; print('sav' + 'ed')", "\nsaved")

    assert [(1,)] == query(env["DATABASE_URL"], "SELECT count(*) FROM users")
    person.types(CTRL_D)
    assert 0 == person.leaves(), person.screen


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("line", ["half a li", "import asyncio; await asyncio.sleep(600)\r"])
def test_a_signal_ends_the_shell(
    open_prompt: OpenPrompt, env: dict[str, str], signum: signal.Signals, line: str
) -> None:
    """At the prompt and in a statement: exit code 143, recorded as interrupted."""
    person = open_prompt()
    person.types(line)
    person.sees(line.strip())

    person.process.send_signal(signum)

    assert 143 == person.leaves(), person.screen
    sql = "SELECT status, exit_code FROM oneoff_runs WHERE command = 'shell'"
    assert [("interrupted", 143)] == query(env["DATABASE_URL"], sql)


def test_a_signal_after_a_commit_at_the_prompt_does_not_deny_it(
    open_prompt: OpenPrompt, env: dict[str, str]
) -> None:
    """Exit code 1: after 143, a scheduler would run the input again."""
    person = open_prompt("--write", "--confirm")
    enter(person, f"{ADD}; print('sav' + 'ed')", "\nsaved")

    person.process.send_signal(signal.SIGTERM)

    assert 1 == person.leaves(), person.screen
    assert "what it committed before that is saved" in person.screen
    assert "rolled back" not in person.screen.rpartition("error[")[2]
    sql = "SELECT status, exit_code FROM oneoff_runs WHERE command = 'shell'"
    assert [("interrupted", 1)] == query(env["DATABASE_URL"], sql)


def test_a_commit_that_fails_at_the_prompt_saves_nothing(
    open_prompt: OpenPrompt, env: dict[str, str]
) -> None:
    """A deferred constraint is checked at COMMIT."""
    for statement in DEFERRED:
        query(env["DATABASE_URL"], statement)
    person = open_prompt("--write", "--confirm")
    person.types("await session.execute(text('INSERT INTO child VALUES (1)')); ")
    enter(person, "await session.commit()", "starts a new one")

    person.process.send_signal(signal.SIGTERM)

    assert 143 == person.leaves(), person.screen
    assert "its work was rolled back" in person.screen


def test_the_history_is_kept_without_secrets(open_prompt: OpenPrompt, env: dict[str, str]) -> None:
    """It is in a file that only its owner can read."""
    env["STRIPE_API_KEY"] = "sk_live_0123456789"
    person = open_prompt()

    enter(person, "key = 'sk_live_0123456789'; print('do' + 'ne')", "\ndone")
    person.types(CTRL_D)
    person.leaves()

    history = Path(env["HOME"]) / ".local/state/oneoff/shop.history"
    assert "key = '***'; print('do' + 'ne')\n" == history.read_text()
    assert 0o600 == history.stat().st_mode & 0o777
