"""What the application's env file says reaches its own code, not only the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.acceptance.conftest import Run

PROJECT = """\
import os
from oneoff import Project


def database_url():
    return "sqlite:///" + os.environ["SHOP_FILE"]


project = Project(
    "shop", database_url="app.project:database_url", env_file="server/.env", embedded=False
)
"""


def test_the_code_that_provides_the_url_sees_the_variables_of_the_file(
    make_project: Callable[[Mapping[str, str]], Path], run: Run
) -> None:
    """It reads POSTGRES_SERVER and the like from the process environment."""
    variables = "SHOP_FILE=goods.sqlite3\nENVIRONMENT=local\n"
    folder = make_project({"app/project.py": PROJECT, "server/.env": variables})

    finished = run(["system", "info"], cwd=folder)

    assert 0 == finished.returncode, finished.stderr
    assert f"sqlite:///{folder}/goods.sqlite3" in finished.stdout
    assert "local" in finished.stdout
