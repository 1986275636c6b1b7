"""A planted secret appears in no stream, no log, no traceback and no row."""

from __future__ import annotations

import itertools

import pytest

from tests.acceptance.conftest import Run
from tests.acceptance.database import query
from tests.acceptance.test_signals import PROJECT, migrated

__all__ = ["migrated"]

WAYS = "message data warning log error why bug chain sql constraint".split()
SECRETS = ("correct-horse-battery", "p@ss/w0rd%41", "sk_live_51Hx'\"quoted", "päss wörd zwölf")
FLAGS = ((), ("--json",), ("--traceback",), ("--debug", "-vv"), ("--dry-run", "--debug"))


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """Use PostgreSQL alone: its errors repeat parameters and whole rows, SQLite's do not."""
    return postgres_url


@pytest.mark.parametrize("way", WAYS)
def test_a_secret_is_shown_nowhere(run: Run, migrated: str, way: str) -> None:
    """However the author lets it out, and however talkative the run is."""
    everything = ""
    for flags, secret in zip(FLAGS, itertools.cycle(SECRETS), strict=False):
        done = run(["leak", way, "--token-stdin", *flags], cwd=PROJECT, input=secret)
        everything += done.stdout + done.stderr
    everything += repr(query(migrated, "SELECT * FROM oneoff_runs"))

    assert "leak" in everything
    forms = [form for secret in SECRETS for form in (secret, repr(secret)[1:-1])]
    assert [] == [form for form in forms if form in everything]


def test_a_secret_on_the_command_line_is_refused_and_not_repeated(run: Run, migrated: str) -> None:
    """Other users of the machine have seen it already; nobody else shall."""
    done = run(["leak", "message", "--token", "hunter2hunter2"], cwd=PROJECT)

    assert 2 == done.returncode
    assert "hunter2" not in done.stdout + done.stderr
    assert [] == query(migrated, "SELECT argv FROM oneoff_runs WHERE command = 'leak'")


def test_the_database_password_is_never_shown(run: Run, postgres_url: str) -> None:
    """Not even when the server refuses it."""
    wrong = postgres_url.replace("p%40ss%25word", "wr0ng%40p%25ss")

    done = run(["migrate", "--traceback"], cwd=PROJECT, env={"DATABASE_URL": wrong})

    assert 78 == done.returncode, done.stderr
    for form in ("wr0ng%40p%25ss", "wr0ng@p%ss", "wr0ng"):
        assert form not in done.stdout + done.stderr
