"""Names that commands have in other frameworks are answered with their names here."""

from __future__ import annotations

from pathlib import Path

import pytest

from oneoff import UsageError
from oneoff.runtime.application import load_application
from oneoff.runtime.registry.names_elsewhere import _CALLED
from oneoff.runtime.registry.registry import Registry

ROOT = str(Path(__file__).parents[4])


def refusal(registry: Registry, words: list[str]) -> UsageError:
    """Return the error of a command that does not exist."""
    with pytest.raises(UsageError) as caught:
        registry.find(words)
    return caught.value


@pytest.mark.parametrize(("name", "line"), _CALLED.items())
def test_the_command_has_another_name_here(name: str, line: str) -> None:
    """The line that is suggested is one of a command that exists."""
    registry = load_application("app.project:project", ROOT).registry

    error = refusal(registry, [name, "x"])

    assert error.message == f"{name!r} is called `{line}` here"
    assert (f"python manage.py {line}",) == tuple(error.try_)
    assert line.startswith(registry.find(line.split())[0].name)


@pytest.mark.parametrize(("name", "hint"), [("runserver", "uvicorn"), ("test", "pytest")])
def test_what_is_not_here_says_where_to_find_it(name: str, hint: str) -> None:
    """It is not suggested as another command."""
    error = refusal(Registry(("oneoff.commands",), ""), [name])

    assert hint in error.message
    assert ("python manage.py help",) == tuple(error.try_)


def test_a_name_whose_command_the_project_lacks_is_unknown() -> None:
    """`user create` belongs to the reference project."""
    error = refusal(Registry(("oneoff.commands",), ""), ["createsuperuser"])

    assert "'createsuperuser' is not a command" in error.message
