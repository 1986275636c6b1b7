"""Files that can't be read or written: the error names the file, and nothing is half done."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.acceptance.conftest import AtHead, Run

MakeProject = Callable[[Mapping[str, str]], Path]

PROJECT = """\
from oneoff import Project

project = Project("shop", migrations="migrations", metadata="app.models:Base.metadata")
"""
MODELS = """\
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
"""
ENV = "from oneoff import run_env\nfrom app.models import Base\n\nrun_env(Base.metadata)\n"
# Without these capabilities the permissions of files hold for root too.
UNPRIVILEGED = (
    ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
)


@pytest.fixture
def shop(make_project: MakeProject, sqlite_url: str, environ: dict[str, str]) -> Iterator[Path]:
    """Return a project with models, on an empty SQLite database; folders become writable again."""
    environ |= {"DATABASE_URL": sqlite_url, "ENVIRONMENT": "test"}
    folder = make_project(
        {
            "app/project.py": PROJECT,
            "app/models.py": MODELS,
            "migrations/env.py": ENV,
            "migrations/versions/.keep": "",
        }
    )
    yield folder
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)


@pytest.mark.parametrize(
    ("line", "read_only", "named"),
    [
        ("makemigrations -m x", "migrations/versions", "migrations/versions/"),
        ("commands new report daily", "commands", "commands/report"),
        ("commands docs -o out.md", ".", "out.md"),
        ("commands docs -o docs/out.md", ".", "docs"),
        ("data export item -o out.csv", ".", "out.csv"),
    ],
)
def test_a_read_only_folder_is_no_bug(
    run: Run, shop: Path, line: str, read_only: str, named: str
) -> None:
    """The error names what can't be written, and says what to do."""
    assert 0 == run(["migrate"], cwd=shop).returncode
    if line.startswith("data"):
        assert 0 == run(["makemigrations", "-m", "item"], cwd=shop).returncode
        assert 0 == run(["migrate"], cwd=shop).returncode
    (shop / read_only).chmod(0o555)

    done = run(line.split(), cwd=shop, wrapper=UNPRIVILEGED)

    assert 1 == done.returncode, done.stderr
    first, *more = [text for text in done.stderr.splitlines() if not text.startswith("{")]
    assert first.startswith(("error[file-error]: ", "error[file-not-written]: "))
    assert named in first
    assert first.lower().endswith("permission denied")
    assert "give the user that runs the command permission" in more[-1]


def test_a_new_command_that_cannot_be_written_leaves_nothing(run: Run, shop: Path) -> None:
    """The folder of its test is read-only, and its own folder is not."""
    (shop / "tests").mkdir()
    (shop / "tests").chmod(0o555)

    done = run(["commands", "new", "report", "daily"], cwd=shop, wrapper=UNPRIVILEGED)

    assert 1 == done.returncode
    assert "error[file-not-written]: " in done.stderr
    assert "test_report_daily.py: permission denied\n" in done.stderr
    assert ["__init__.py"] == [path.name for path in (shop / "commands").iterdir()]


@pytest.mark.parametrize("line", ["migrate", "system maintenance on --confirm"])
def test_a_database_file_without_write_permission_is_no_fault_of_the_command(
    run: Run, shop: Path, sqlite_url: str, line: str
) -> None:
    """The command has declared that it writes."""
    assert 0 == run(["makemigrations", "-m", "item"], cwd=shop).returncode
    if line != "migrate":
        assert 0 == run(["migrate"], cwd=shop).returncode
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    file.touch()
    file.chmod(0o444)

    done = run(line.split(), cwd=shop, wrapper=UNPRIVILEGED)

    assert 78 == done.returncode, done.stderr
    assert "error[unwritable-database]: the database can't be written: attempt to" in done.stderr
    assert "  try:  make the file and its folder writable for this user\n" in done.stderr


def test_a_folder_that_does_not_exist_is_not_a_full_disk(
    run: Run, at_head: AtHead, sqlite_url: str
) -> None:
    """The advice is about the folder."""
    at_head.bring(sqlite_url)
    env = {"DATABASE_URL": sqlite_url, "ENVIRONMENT": "test"}

    done = run(["data", "export", "users", "-o", "no-folder/users.csv"], env=env)

    assert 1 == done.returncode
    assert "  try:  create the folder, or correct the path, or choose another path\n" in done.stderr


def test_an_unreadable_home_is_not_an_unreachable_server(run: Run, postgres_url: str) -> None:
    """The driver looks for passwords and certificates there."""
    env = {"DATABASE_URL": postgres_url, "ENVIRONMENT": "test", "HOME": f"/{'x' * 300}"}

    done = run(["db", "status"], env=env)

    assert 78 == done.returncode
    assert "error[driver-file]: a file that the database driver looks for can't" in done.stderr
