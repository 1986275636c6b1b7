"""Provide pytest fixtures for tests of a project's commands."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from oneoff.testing.manage import Manage


@pytest.fixture(scope="session")
def manage_project(pytestconfig: pytest.Config) -> tuple[str, str]:
    """Return the project's import string and root folder. Override it for another layout."""
    from oneoff.runtime.application import find_project

    return find_project(str(pytestconfig.rootpath), {})


@pytest.fixture(scope="session")
def migrated_sqlite(
    manage_project: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a SQLite file that is migrated to the head. Each test gets a copy of it."""
    from oneoff.testing.manage import Manage

    path = tmp_path_factory.mktemp("oneoff") / "migrated.sqlite3"
    manage = Manage(*manage_project, {"DATABASE_URL": f"sqlite:///{path}", "ENVIRONMENT": "test"})
    finished = asyncio.run(manage("db migrate"))
    if finished.exit_code:
        pytest.fail(f"the project's migrations failed:\n{finished.stderr}")
    return path


@pytest.fixture
def manage_environ(migrated_sqlite: Path, tmp_path: Path) -> dict[str, str]:
    """Return the environment variables of commands, with a migrated SQLite database for this test.

    Override it to use another database: return its DATABASE_URL.
    """
    path = tmp_path / "test.sqlite3"
    shutil.copyfile(migrated_sqlite, path)
    return {"DATABASE_URL": f"sqlite:///{path}", "ENVIRONMENT": "test", "OPERATOR": "tester"}


@pytest.fixture
def manage(manage_project: tuple[str, str], manage_environ: dict[str, str]) -> Manage:
    """Return the function that runs command lines; see `oneoff.testing.Manage`."""
    from oneoff.testing.manage import Manage

    return Manage(*manage_project, manage_environ)
