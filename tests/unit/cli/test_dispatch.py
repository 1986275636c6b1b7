"""From a command line to a page or a command."""

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
def test_a_group_with_an_option_shows_the_page_of_the_group(line: str) -> None:
    """As the group alone does."""
    assert page("user") == page(line)


def test_an_option_of_some_commands_alone_is_refused_behind_a_group() -> None:
    """A group has no dry run."""
    with pytest.raises(UsageError, match="'user' is a group of commands: user activate"):
        page("user --dry-run")
