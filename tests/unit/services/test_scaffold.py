"""New commands: what is written, what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from oneoff import BaseCommand
from oneoff.core.errors import CommandError, UsageError
from oneoff.runtime.registry.registry import Registry
from oneoff.services.scaffold import plan, words_of, write

PACKAGE = "eighth"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Return the registry of a project that has no command yet."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]
    return Registry(("oneoff.commands", PACKAGE), str(tmp_path))


def create(registry: Registry, name: str) -> list[str]:
    """Write a new command and return the files, relative to the root."""
    root = Path(registry.root)
    files = plan(root, PACKAGE, words_of([name]), registry)
    write(files)
    return [str(file.path.relative_to(root)) for file in files]


def load(registry: Registry, name: str) -> type[BaseCommand]:
    """Load a command in the way of the next process."""
    later = Registry(registry.packages, registry.root)
    return later.load(later.find(name.split())[0])


@pytest.mark.parametrize("name", ["report/daily", "report daily", "/report/daily/"])
def test_a_name_is_typed_as_a_path_or_as_words(name: str) -> None:
    """Both mean the same."""
    assert ["report", "daily"] == words_of([name])
    assert ["report", "daily"] == words_of(name.split())


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("Report/Daily", "report daily"),
        ("report/daily.py", "report daily"),
        ("report/daily_total", "report daily-total"),
        ("report/DailyTotal", "report daily-total"),
        ("report/2fa", "report fa"),
        ("../etc", "etc"),
        ("_private", "private"),
        ("a--b", "a-b"),
        ("bericht/täglich", "bericht t-glich"),
        ("/", "report daily"),
    ],
)
def test_a_bad_name_is_refused_with_one_that_is_right(name: str, right: str) -> None:
    """The operator can run the line that is shown."""
    with pytest.raises(UsageError) as caught:
        words_of([name])

    assert (f"python manage.py commands new {right}",) == caught.value.try_
    assert right.split() == words_of([right])


def test_a_command_comes_with_its_packages_and_its_test(registry: Registry) -> None:
    """What exists already is left alone."""
    assert [
        "eighth/__init__.py",
        "eighth/report/__init__.py",
        "eighth/report/daily.py",
        "tests/test_report_daily.py",
    ] == create(registry, "report/daily")
    assert ["eighth/report/weekly_total.py", "tests/test_report_weekly_total.py"] == create(
        registry, "report/weekly-total"
    )


def test_the_test_stands_with_the_tests_of_commands(registry: Registry, tmp_path: Path) -> None:
    """Where the project keeps them apart."""
    (tmp_path / "tests" / "commands").mkdir(parents=True)

    assert "tests/commands/test_hello.py" in create(registry, "hello")


async def test_the_new_command_works_and_says_what_its_test_expects(registry: Registry) -> None:
    """The texts of both fit together."""
    create(registry, "report/daily")

    command = load(registry, "report daily")
    result = await command().handle()

    test = (Path(registry.root) / "tests" / "test_report_daily.py").read_text()
    assert "report daily looked at today" == result.message
    assert f'assert (0, "{result.message}\\n") == (outcome.exit_code, outcome.stdout)' in test


@pytest.mark.parametrize("name", ["result", "argument", "none", "import", "base-command"])
async def test_a_class_name_never_hides_another(registry: Registry, name: str) -> None:
    """A keyword or an imported name gets an ending."""
    create(registry, f"group/{name}")

    command = load(registry, f"group {name}")

    assert f"group {name} looked at today" == (await command().handle()).message


@pytest.mark.parametrize("name", ["commands/list", "commands", "commands/list/more"])
def test_a_name_that_is_taken_is_refused(registry: Registry, name: str, tmp_path: Path) -> None:
    """By a command, by a group, or by a command where a group would have to be."""
    with pytest.raises(CommandError) as caught:
        create(registry, name)

    assert "command-exists" == caught.value.code
    assert [] == list(tmp_path.iterdir())


def test_nothing_is_overwritten(registry: Registry, tmp_path: Path) -> None:
    """Not even the test alone; then nothing is written at all."""
    test = tmp_path / "tests" / "test_report_daily.py"
    test.parent.mkdir()
    test.write_text("mine")

    with pytest.raises(CommandError, match=r"taken already by tests/test_report_daily\.py"):
        create(registry, "report/daily")

    assert ("mine", False) == (test.read_text(), (tmp_path / PACKAGE).exists())
