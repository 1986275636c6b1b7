"""Real processes: a command line in, an exit code and two streams out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT = 60
"""Seconds after which a process counts as hanging."""

Start = Callable[..., "subprocess.Popen[str]"]
Run = Callable[..., "subprocess.CompletedProcess[str]"]

MANAGE = """\
from oneoff.cli import main

if __name__ == "__main__":
    raise SystemExit(main("app.project:project"))
"""
PROJECT = """\
from oneoff import Project

project = Project("shop", commands=("commands",))
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Return the variables of a process that is nobody's: no terminal, no CI, no settings."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT),
        "LANG": "C.UTF-8",
    }


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    """Build a project of the given files in a folder of its own, with `manage.py` and `app`."""

    def make(files: Mapping[str, str]) -> Path:
        folder = tmp_path / "shop"
        basis = {"manage.py": MANAGE, "app/__init__.py": "", "app/project.py": PROJECT}
        for name, text in {**basis, "commands/__init__.py": "", **files}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return folder

    return make


@pytest.fixture
def start(environ: dict[str, str]) -> Start:
    """Start `python manage.py WORDS` and return the process."""

    def start(
        words: Sequence[str],
        *,
        cwd: Path = ROOT,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        wrapper: Sequence[str] = (),
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*wrapper, sys.executable, "manage.py", *words],
            cwd=cwd,
            env={**environ, **(env or {})},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def run(start: Start) -> Run:
    """Run `python manage.py WORDS` to its end."""

    def run(
        words: Sequence[str],
        *,
        input: str | None = None,  # noqa: A002 - as subprocess.run names it
        **more: object,
    ) -> subprocess.CompletedProcess[str]:
        if input is not None:
            more["stdin"] = subprocess.PIPE
        process = start(words, **more)
        stdout, stderr = process.communicate(input, timeout=LIMIT)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    return run
