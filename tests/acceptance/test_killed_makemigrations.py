"""A makemigrations that was killed leaves things, which the next one removes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import LIMIT, Run, Start
from tests.support.database import query

PROJECT = """\
from oneoff import Project

project = Project("shop", commands=(), migrations="migrations")
"""
ENV = """\
import sqlalchemy as sa
from oneoff import run_env

metadata = sa.MetaData()
sa.Table("item", metadata, sa.Column("id", sa.Integer, primary_key=True))
run_env(metadata)
"""
WAIT = """\
import os, sys

revision, down_revision = "a1", None

def upgrade():
    if os.environ.get("WAIT"):
        os.write(2, b"waiting\\n")
        sys.stdin.read()

def downgrade():
    pass
"""


@pytest.fixture
def folder(make_project: Callable[[Mapping[str, str]], Path]) -> Path:
    """Return a project whose first revision can wait while it is applied."""
    files = {"migrations/env.py": ENV, "app/project.py": PROJECT}
    return make_project({**files, "migrations/versions/a1.py": WAIT})


def test_only_what_a_killed_run_has_left_is_removed(
    start: Start, run: Run, folder: Path, tmp_path: Path, database_url: str
) -> None:
    """What a living run uses stays. The next run says what it removed."""
    url = database_url
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    env = {"DATABASE_URL": url, "ENVIRONMENT": "test", "TMPDIR": str(scratch)}
    given = {"cwd": folder, "env": env}
    assert 0 == run(["migrate"], **given).returncode
    words = ["makemigrations", "-m", "items"]
    killed, alive = (start_waiting(start, words, folder, env) for _ in range(2))
    before = leftovers(url, scratch)

    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=LIMIT)
    done = run(words, **given)
    after = leftovers(url, scratch)
    alive.communicate("", timeout=LIMIT)

    assert (0, 0) == (done.returncode, alive.returncode), done.stderr
    gone = before - after
    assert len(before) == 2 * len(gone), (before, after)
    assert gone
    for name in gone:
        assert f"removed {name}, which a killed run had left" in done.stderr
    assert set() == leftovers(url, scratch)
    assert 2 == len(list((folder / "migrations/versions").glob("*_items.py")))


def start_waiting(start: Start, words: list[str], folder: Path, env: dict[str, str]) -> Any:
    """Start a command and return it when its first revision waits on the scratch database."""
    process = start(words, cwd=folder, env={**env, "WAIT": "1"}, stdin=-1)
    assert process.stderr is not None
    while "waiting" not in process.stderr.readline():
        assert process.poll() is None
    return process


def leftovers(url: str, folder: Path) -> set[str]:
    """Return the scratch folders and databases that exist."""
    found = {str(path) for path in folder.glob("oneoff_scratch_*")}
    if url.startswith("postgres"):
        found |= {
            name
            for (name,) in query(url, "SELECT datname FROM pg_database")
            if name.startswith("oneoff_scratch_")
        }
    return found
