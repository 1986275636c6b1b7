"""Secrets do not appear in streams, logs, tracebacks or rows."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import pytest

from tests.acceptance.conftest import Run
from tests.acceptance.test_signals import PROJECT, migrated
from tests.support.database import query

__all__ = ["migrated"]

WAYS = "message data warning log error why bug chain sql constraint".split()
SECRETS = ("correct-horse-battery", "p@ss/w0rd%41", "sk_live_51Hx'\"quoted", "päss wörd zwölf")
FLAGS = ((), ("--json",), ("--traceback",), ("--debug", "-vv"), ("--dry-run", "--debug"))
RUNS = """\
import json, os, sys
from oneoff.cli import main
for words, stdin in json.loads(sys.argv[1]):
    reader, writer = os.pipe()
    os.write(writer, stdin.encode())
    os.close(writer)
    os.dup2(reader, 0)
    sys.stdin = open(0, closefd=False)
    main("app.project:project", words)
"""
"""A program that runs command lines one after the other, each with a text on standard input."""


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """Use only PostgreSQL: its errors repeat parameters and rows, those of SQLite do not."""
    return postgres_url


@pytest.mark.parametrize("way", WAYS)
def test_a_secret_is_not_shown(environ: dict[str, str], migrated: str, way: str) -> None:
    """For each way in which a command can leak it, and with all verbose options."""
    runs = [
        (["leak", way, "--token-stdin", *flags], secret)
        for flags, secret in zip(FLAGS, itertools.cycle(SECRETS), strict=False)
    ]
    done = subprocess.run(
        [sys.executable, "-c", RUNS, json.dumps(runs)],
        cwd=PROJECT,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    stored = query(migrated, "SELECT * FROM oneoff_runs WHERE command = 'leak'")
    everything = done.stdout + done.stderr + repr(stored)

    assert len(FLAGS) == len(stored)
    forms = [form for secret in SECRETS for form in (secret, repr(secret)[1:-1])]
    assert [] == [form for form in forms if form in everything]


def test_a_secret_on_the_command_line_is_refused_and_not_repeated(run: Run, migrated: str) -> None:
    """Other users of the machine could see it; the output must not show it again."""
    done = run(["leak", "message", "--token", "hunter2hunter2"], cwd=PROJECT)

    assert 2 == done.returncode
    assert "hunter2" not in done.stdout + done.stderr
    assert [] == query(migrated, "SELECT argv FROM oneoff_runs WHERE command = 'leak'")


def test_the_database_password_is_never_shown(run: Run, postgres_url: str) -> None:
    """Also when the server refuses it."""
    wrong = postgres_url.replace("p%40ss%25word", "wr0ng%40p%25ss")

    done = run(["migrate", "--traceback"], cwd=PROJECT, env={"DATABASE_URL": wrong})

    assert 78 == done.returncode, done.stderr
    for form in ("wr0ng%40p%25ss", "wr0ng@p%ss", "wr0ng"):
        assert form not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "way", ["structlog", "logging", "handler", "warning", "thread", "finalizer", "loop"]
)
def test_secrets_in_other_logs_are_masked_and_not_on_standard_output(
    run: Run, migrated: str, way: str
) -> None:
    """Loggers of the application and of libraries, and reports of Python itself."""
    del migrated
    secret = "sk_live_51Hx-quiet"  # noqa: S105 - planted

    done = run(["mutter", way, "--token-stdin", "--json"], cwd=PROJECT, input=secret)

    assert 0 == done.returncode, done.stderr
    assert "***" in done.stderr
    assert secret not in done.stdout + done.stderr
    assert [json.loads(done.stdout)] == [json.loads(line) for line in done.stdout.splitlines()]


def test_a_record_is_closed_even_if_its_values_are_not_valid_in_postgresql(
    run: Run, migrated: str
) -> None:
    """PostgreSQL refuses NUL, invalid UTF-8, and numbers that are too large for the column."""
    words = ["leak", "unwritable", "--token-stdin", "--reason", "broken \udcff"]

    done = run(words, cwd=PROJECT, input="planted-s3cret")

    assert 0 == done.returncode, done.stderr
    columns = "SELECT status, rows, message, reason FROM oneoff_runs WHERE command = 'leak'"
    message = r"not UTF-8: \udcff, NUL: \x00"
    row = ("succeeded", 2**31, message, r"broken \udcff")
    assert [row] == [tuple(found) for found in query(migrated, columns)]
