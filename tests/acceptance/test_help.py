"""Help and the version, also where the project can't be loaded, and the name of the program."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.acceptance.conftest import ROOT, Run

MakeProject = Callable[[Mapping[str, str]], Path]

BROKEN = {"app/project.py": "x = 1\nx.upper()\n"}
PROBLEM = (
    "warning: the project's own commands are not listed: 'app.project:project' can't be imported: "
    "app/project.py:2: AttributeError: 'int' object has no attribute 'upper'\n"
)
PACKAGE = 'from oneoff import Project\nproject = Project("shop", commands=("{}",))\n'
START = (
    "import sys; sys.argv[0] = {!r}; from oneoff.cli.process import console; sys.exit(console())"
)


def started_as(
    program: str, words: list[str], cwd: Path, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run the script of the package under this name."""
    return subprocess.run(
        [sys.executable, "-c", START.format(program), *words],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("help", "Usage: python manage.py COMMAND"),
        ("", "Usage: python manage.py COMMAND"),
        ("--help", "Usage: python manage.py COMMAND"),
        ("help migrate", "Usage: python manage.py migrate"),
        ("migrate --help", "Usage: python manage.py migrate"),
        ("db migrate -h", "Usage: python manage.py db migrate"),
        ("db", "Usage: python manage.py db COMMAND"),
    ],
)
def test_help_needs_no_project_that_can_be_loaded(
    run: Run, make_project: MakeProject, line: str, first: str
) -> None:
    """It shows the commands of oneoff, and why those of the project are missing."""
    done = run(line.split(), cwd=make_project(BROKEN))

    assert (0, PROBLEM) == (done.returncode, done.stderr)
    assert done.stdout.startswith(first)


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_needs_no_project(run: Run, make_project: MakeProject, option: str) -> None:
    """Where there is one, its name is shown too."""
    broken = run([option], cwd=make_project(BROKEN))
    project = run([option])

    assert (0, "oneoff 0.1.0\n", "") == (broken.returncode, broken.stdout, broken.stderr)
    assert (0, "shop, oneoff 0.1.0\n") == (project.returncode, project.stdout)


@pytest.mark.parametrize("line", ["migrate", "report --help", "help report"])
def test_other_lines_report_the_error_of_the_project(
    run: Run, make_project: MakeProject, line: str
) -> None:
    """So does the help of a command that oneoff does not have."""
    done = run(line.split(), cwd=make_project(BROKEN))

    assert 78 == done.returncode
    assert "error[project-broken]: 'app.project:project' can't be imported: app/" in done.stderr


def test_traceback_shows_the_cause_in_the_project(run: Run, make_project: MakeProject) -> None:
    """The line that failed is in it."""
    done = run(["migrate", "--traceback"], cwd=make_project(BROKEN))

    assert "    x.upper()\n" in done.stderr


def test_help_names_a_package_of_commands_that_does_not_exist(
    run: Run, make_project: MakeProject
) -> None:
    """It lists the other commands."""
    done = run(["help"], cwd=make_project({"app/project.py": PACKAGE.format("admin_tasks")}))

    assert 0 == done.returncode
    assert "warning: the commands package 'admin_tasks' was not found\n" == done.stderr


def test_outside_a_project_help_and_version_work(tmp_path: Path, environ: dict[str, str]) -> None:
    """For a first look after the installation."""
    done = started_as("/bin/oneoff", ["--help"], tmp_path, environ)
    version = started_as("/bin/oneoff", ["--version"], tmp_path, environ)

    assert (0, "Usage: oneoff COMMAND [ARGUMENTS] [OPTIONS]") == (
        done.returncode,
        done.stdout.partition("\n")[0],
    )
    assert (0, "oneoff 0.1.0\n", "") == (version.returncode, version.stdout, version.stderr)


def test_a_pyproject_that_is_not_toml_is_named(tmp_path: Path, environ: dict[str, str]) -> None:
    """Not a bug of oneoff."""
    (tmp_path / "pyproject.toml").write_text("[tool.oneoff\n")

    done = started_as("/bin/oneoff", ["migrate"], tmp_path, environ)

    assert 78 == done.returncode
    assert f"error[project-not-found]: {tmp_path}/pyproject.toml can't be read: " in done.stderr


@pytest.mark.parametrize(
    ("path", "program"),
    [
        ("/bin/admin", "admin"),
        ("/bin/shopctl", "shopctl"),
        ("/srv/tasks.py", "python tasks.py"),
    ],
)
def test_messages_and_pages_name_the_program_as_it_was_started(
    environ: dict[str, str], sqlite_url: str, path: str, program: str
) -> None:
    """A line that the operator copies from a message must work."""
    environ |= {"DATABASE_URL": sqlite_url, "ENVIRONMENT": "test"}
    page = started_as(path, ["help", "db", "migrate"], ROOT, environ).stdout
    error = started_as(path, ["hello", "--nope"], ROOT, environ).stderr
    refused = started_as(path, ["audit", "show", "nothing", "--json"], ROOT, environ).stdout

    assert f"\n  {program} db migrate --dry-run\n" in page
    assert f"  try:  {program} hello --help\n" in error
    assert f'"{program} migrate"' in refused
    assert "manage.py" not in page + error + refused


def test_an_old_python_gets_one_line(environ: dict[str, str]) -> None:
    """Not the tracebacks of the first modules that it can't compile."""
    code = "import sys; sys.version_info = (3, 10, 13); import oneoff.cli"

    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert 78 == done.returncode
    assert done.stderr.startswith("error[python-version]: oneoff needs Python 3.11 or later, and ")
    assert "Traceback" not in done.stderr
