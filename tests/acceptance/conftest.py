"""Fixtures that run commands as real processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.servers import Postgres
from tests.support.web import Web, running_web

ROOT = Path(__file__).parents[2]
LIMIT = 60
"""Seconds until a process that has not ended is an error."""

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
    """Return environment variables without a terminal, CI or settings."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT),
        "LANG": "C.UTF-8",
    }


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    """Return a function that creates a project from files, and adds `manage.py` and `app`."""

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
    """Return a function that starts `python manage.py WORDS` and returns the process."""

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
    """Return a function that runs `python manage.py WORDS` and waits for its end."""

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


class AtHead:
    """Copy migrated databases. `migrate` runs once for each project and kind of database.

    Args:
        request: The request of the session; PostgreSQL is started when a test first needs it.
        folder: The folder for the SQLite files.
    """

    def __init__(self, request: pytest.FixtureRequest, folder: Path) -> None:
        self._request, self._folder = request, folder
        self._made: dict[tuple[Path, str], str] = {}

    def bring(self, url: str, cwd: Path = ROOT) -> None:
        """Replace the empty database of a test with a copy of a migrated one."""
        kind, _, place = url.partition("://")
        template = self._made.get((cwd, kind)) or self._make(kind, cwd)
        if kind == "sqlite":
            shutil.copyfile(template, place.removeprefix("/"))
        else:
            self._server.replace(place.rpartition("/")[2], template)

    @property
    def _server(self) -> Postgres:
        server: Postgres = self._request.getfixturevalue("postgres_server")
        return server

    def _make(self, kind: str, cwd: Path) -> str:
        if kind == "sqlite":
            template = f"{self._folder}/{len(self._made)}.sqlite3"
            url = f"sqlite:///{template}"
        else:
            template = f"at_head_{len(self._made)}"  # removed together with its server
            self._server.psql(f"CREATE DATABASE {template}")
            url = self._server.url(template)
        subprocess.run(
            [sys.executable, "manage.py", "migrate"],
            cwd=cwd,
            env={**os.environ, "DATABASE_URL": url, "ENVIRONMENT": "test", "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
        )
        self._made[cwd, kind] = template
        return template


@pytest.fixture(scope="session")
def at_head(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AtHead:
    """Return an object that copies migrated databases: `.bring(url, cwd)`."""
    return AtHead(request, tmp_path_factory.mktemp("at-head"))


@pytest.fixture
def migrated(at_head: AtHead, database_url: str, environ: dict[str, str]) -> str:
    """Migrate the database of the test, and let all its processes use it."""
    environ |= {"DATABASE_URL": database_url, "ENVIRONMENT": "test"}
    at_head.bring(database_url)
    return database_url


@pytest.fixture
def web(migrated: str, environ: dict[str, str], tmp_path: Path) -> Iterator[Web]:
    """Run the web process on the migrated database, without Redis."""
    with running_web(environ, tmp_path) as process:
        yield process
