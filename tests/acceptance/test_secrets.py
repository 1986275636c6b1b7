"""A planted secret appears in no stream, no log, no traceback and no row."""

from __future__ import annotations

import itertools
import json

import pytest

from tests.acceptance.conftest import Run
from tests.acceptance.test_signals import PROJECT, migrated
from tests.support.database import query

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


@pytest.mark.parametrize(
    "way", ["structlog", "logging", "handler", "warning", "thread", "finalizer", "loop"]
)
def test_what_others_log_is_masked_and_kept_from_standard_output(
    run: Run, migrated: str, way: str
) -> None:
    """The application's own loggers, its libraries', and what Python itself reports."""
    del migrated
    secret = "sk_live_51Hx-quiet"  # noqa: S105 - planted

    done = run(["mutter", way, "--token-stdin", "--json"], cwd=PROJECT, input=secret)

    assert 0 == done.returncode, done.stderr
    assert "***" in done.stderr
    assert secret not in done.stdout + done.stderr
    assert [json.loads(done.stdout)] == [json.loads(line) for line in done.stdout.splitlines()]


def test_a_record_is_closed_whatever_the_command_says(run: Run, migrated: str) -> None:
    """PostgreSQL takes no NUL, no broken UTF-8, and no large number in a small column."""
    words = ["leak", "unwritable", "--token-stdin", "--reason", "broken \udcff"]

    done = run(words, cwd=PROJECT, input="planted-s3cret")

    assert 0 == done.returncode, done.stderr
    columns = "SELECT status, rows, message, reason FROM oneoff_runs WHERE command = 'leak'"
    message = r"not UTF-8: \udcff, NUL: \x00"
    row = ("succeeded", 2**31, message, r"broken \udcff")
    assert [row] == [tuple(found) for found in query(migrated, columns)]
