"""Turn a command line into a page or a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from oneoff.cli.dispatch import Page, dispatch
from oneoff.core.errors import UsageError
from oneoff.runtime.application import load_application

ROOT = Path(__file__).resolve().parents[3]


def page(line: str) -> str:
    """Return the text that answers a line."""
    app = load_application("app.project:project", str(ROOT), {})
    found = dispatch(app, line.split(), "python manage.py")
    assert isinstance(found, Page)
    return found.text


@pytest.mark.parametrize(
    "line", ["user --json", "user --help", "--json user", "user -v --no-color"]
)
def test_a_group_with_a_leading_option_shows_the_groups_page(line: str) -> None:
    """The option does not change the page."""
    assert page("user") == page(line)


def test_a_group_refuses_an_option_that_only_some_commands_have() -> None:
    """For example, `--dry-run`."""
    with pytest.raises(UsageError, match="'user' is a group of commands: user activate"):
        page("user --dry-run")


@pytest.mark.parametrize(
    "line", ["help --no-color user", "help user --json", "--no-color help user", "help -v user -q"]
)
def test_help_accepts_the_flags_that_every_command_has(line: str) -> None:
    """They do not change the page."""
    assert page("help user") == page(line)


@pytest.mark.parametrize("option", ["-x", "--settings"])
def test_an_unknown_option_before_the_name_is_not_said_to_be_misplaced(option: str) -> None:
    """After the name it would be an error too."""
    with pytest.raises(UsageError) as caught:
        page(f"{option}=shop user promote")

    said = f"{option} is not an option that may come before the command's name"
    assert said == caught.value.problems[0]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("user list --as xml", "--as 'xml' is not one of table, csv, json"),
        ("user list --fields ,", "--fields names no field"),
        ("user list --as csv --json", "--json prints the whole result"),
        ("data export users --sort id", "can't both go to standard output"),
        ("user promote ada admin --as csv", "is not a command that only reads, so it has no --as"),
    ],
)
def test_options_about_rows_that_have_no_effect_are_refused_before_the_run(
    line: str, problem: str
) -> None:
    """The error says why."""
    with pytest.raises(UsageError, match=problem):
        page(line)
