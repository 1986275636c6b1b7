"""Start-up time: each kind of command line imports only the modules that it needs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

HEAVY = frozenset(
    "sqlalchemy alembic asyncpg aiosqlite redis arq pydantic pydantic_settings structlog argon2 "
    "argparse dotenv".split()
)
TRACER = """
import atexit, sys
atexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr))
sys.argv = ["manage.py", *sys.argv[1:]]
exec(open("manage.py").read())
"""
WITHOUT_RESOURCES = '''\
from oneoff import BaseCommand, Result


class Ping(BaseCommand):
    """Answer."""

    async def handle(self) -> Result:
        return Result.unchanged("pong")
'''
BROKEN = "def broken(:\n"


@pytest.fixture
def modules(
    make_project: Callable[[Mapping[str, str]], Path], environ: dict[str, str]
) -> Callable[..., set[str]]:
    """Return a function that runs a command line and returns its imported modules."""
    folder = make_project({"commands/ping.py": WITHOUT_RESOURCES, "commands/bad.py": BROKEN})

    def modules(*words: str, expect: int = 0) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-c", TRACER, *words],
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert expect == done.returncode, done.stderr
        return set(done.stderr.splitlines()[-1].split())

    return modules


@pytest.mark.parametrize(
    ("words", "exit_code"),
    [
        ((), 0),
        (("help",), 0),
        (("--help",), 0),
        (("--version",), 0),
        (("help", "db"), 0),
        (("db", "migrate", "--help"), 0),
        (("completion", "candidates", "--", "db", "mi"), 0),
        (("no-such-command",), 2),
        (("ping", "--no-such-option"), 2),
        (("db", "migrate", "--revsion"), 2),
        (("bad",), 78),
    ],
)
def test_help_completion_and_usage_errors_import_nothing_heavy(
    modules: Callable[..., set[str]], words: tuple[str, ...], exit_code: int
) -> None:
    """Neither a heavy library nor the project's settings."""
    assert set() == modules(*words, expect=exit_code) & HEAVY


@pytest.mark.parametrize("words", [(), ("help",), ("completion", "candidates", "--", "p")])
def test_a_listing_does_not_import_asyncio(
    modules: Callable[..., set[str]], words: tuple[str, ...]
) -> None:
    """It only reads folders and source files."""
    slow = frozenset({"asyncio", "dataclasses", "inspect", "pathlib", "typing"})

    assert set() == modules(*words) & slow


def test_a_command_without_resources_imports_nothing_heavy(
    modules: Callable[..., set[str]],
) -> None:
    """The line of the log that reports its end does not need structlog."""
    assert set() == modules("ping") & HEAVY


def test_a_command_file_with_a_syntax_error_affects_only_its_command(
    modules: Callable[..., set[str]],
) -> None:
    """Other commands still run."""
    assert "asyncio" in modules("ping")


def test_a_run_without_listeners_imports_nothing_for_them(
    modules: Callable[..., set[str]],
) -> None:
    """Those that oneoff includes are only asked whether their settings are there."""
    for_listeners = {"oneoff.core.events", "sentry_sdk", "urllib.request"}

    loaded = modules("ping")

    assert {"oneoff.integrations.webhook"} == loaded & {
        "oneoff.integrations.webhook",
        *for_listeners,
    }
