"""Objects that a project names by import strings are imported; an error names its line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oneoff.core.errors import ConfigurationError
from oneoff.core.project import load_object

Write = Callable[[str], object]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Return a function that writes the module `parts_of_shop`, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    yield (tmp_path / "parts_of_shop.py").write_text
    sys.modules.pop("parts_of_shop", None)


def error_of(name: str) -> ConfigurationError:
    """Return the error of an import string that can't be loaded."""
    with pytest.raises(ConfigurationError) as caught:
        load_object(name)
    return caught.value


@pytest.mark.parametrize(
    ("text", "place_and_problem"),
    [
        ("x = 1\nx.upper()", "2: AttributeError: 'int' object has no attribute 'upper'"),
        ("import no_such_module", "1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = (\n", "1: SyntaxError: '(' was never closed"),
        ("raise SystemExit(3)", "1: SystemExit: 3"),
        ("import json\n\njson.loads('{')", "3: JSONDecodeError: "),
        ("from oneoff import Retention\nRetention()", "2: TypeError: Retention"),
        ("from oneoff import Project\n\nProject(nam='x')", "3: TypeError: Project"),
    ],
)
def test_an_error_in_the_module_names_its_line(
    write: Write, text: str, place_and_problem: str
) -> None:
    """The line is the user's, also if a library or the framework raised the error."""
    write(text)

    error = error_of("parts_of_shop:PARTS")

    expected = f"'parts_of_shop:PARTS' can't be imported: parts_of_shop.py:{place_and_problem}"
    assert ("project-broken", expected) == (error.code, error.message[: len(expected)])
    assert error.__cause__ is not None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("parts_of_shop:PARTS", "does not exist: module 'parts_of_shop' has no attribute 'PARTS'"),
        ("no_such_module:PARTS", "can't be imported: no module named 'no_such_module'"),
        ("parts_of_shop.more:PARTS", "can't be imported: no module named 'parts_of_shop.more'"),
        (":PARTS", "does not name a module"),
        (".parts_of_shop:PARTS", "does not name a module"),
    ],
)
def test_a_wrong_import_string_is_not_an_error_of_the_module(
    write: Write, name: str, problem: str
) -> None:
    """The advice is to correct the string."""
    write("")

    error = error_of(name)

    assert ("project-not-found", f"{name!r} {problem}") == (error.code, error.message)


def test_an_error_of_a_lazy_attribute_is_an_error_of_the_module(write: Write) -> None:
    """A module may define `__getattr__`."""
    write("def __getattr__(name):\n    return {}.missing\n")

    error = error_of("parts_of_shop:PARTS")

    assert "project-broken" == error.code
    assert "parts_of_shop.py:2: AttributeError: 'dict' object has no" in error.message
