"""Create new commands with their tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from oneoff import BaseCommand, Project
from oneoff.core.errors import CommandError, UsageError
from oneoff.core.task import CATEGORIES, NEEDED
from oneoff.runtime.registry.registry import Registry
from oneoff.services.scaffold import plan, words_of, write
from oneoff.services.tasks.catalogue import read_catalogue
from oneoff.services.tasks.findings import findings
from oneoff.services.tasks.template import templates

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
    """Load a command as the next process does."""
    later = Registry(registry.packages, registry.root)
    return later.load(later.find(name.split())[0])


@pytest.mark.parametrize("name", ["report/daily", "report daily", "/report/daily/"])
def test_a_name_can_be_a_path_or_words(name: str) -> None:
    """Both have the same result."""
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
        ("help/topics", "topics"),
        ("help", "report daily"),
    ],
)
def test_the_error_for_a_bad_name_suggests_a_valid_one(name: str, right: str) -> None:
    """The suggested command line works."""
    with pytest.raises(UsageError) as caught:
        words_of([name])

    assert (f"python manage.py commands new {right}",) == caught.value.try_
    assert right.split() == words_of([right])


def test_a_command_is_created_with_its_packages_and_its_test(registry: Registry) -> None:
    """Existing files are unchanged."""
    assert [
        "eighth/__init__.py",
        "eighth/report/__init__.py",
        "eighth/report/daily.py",
        "tests/test_report_daily.py",
    ] == create(registry, "report/daily")
    assert ["eighth/report/weekly_total.py", "tests/test_report_weekly_total.py"] == create(
        registry, "report/weekly-total"
    )


def test_the_test_is_in_tests_commands_if_it_exists(registry: Registry, tmp_path: Path) -> None:
    """Otherwise it is in tests."""
    (tmp_path / "tests" / "commands").mkdir(parents=True)

    assert "tests/commands/test_hello.py" in create(registry, "hello")


async def test_the_new_command_prints_what_its_test_expects(registry: Registry) -> None:
    """The new test passes."""
    create(registry, "report/daily")

    command = load(registry, "report daily")
    result = await command().handle()

    test = (Path(registry.root) / "tests" / "test_report_daily.py").read_text()
    assert "report daily ran for today" == result.message
    assert f'assert (0, "{result.message}\\n") == (outcome.exit_code, outcome.stdout)' in test


@pytest.mark.parametrize("name", ["result", "argument", "none", "import", "base-command"])
async def test_the_class_name_is_never_a_keyword_or_an_imported_name(
    registry: Registry, name: str
) -> None:
    """Such a name gets the ending Command."""
    create(registry, f"group/{name}")

    command = load(registry, f"group {name}")

    assert f"group {name} ran for today" == (await command().handle()).message


@pytest.mark.parametrize("name", ["commands/list", "commands", "commands/list/more"])
def test_a_name_that_is_taken_is_refused(registry: Registry, name: str, tmp_path: Path) -> None:
    """Taken by a command, by a group, or by a command in place of a group."""
    with pytest.raises(CommandError) as caught:
        create(registry, name)

    assert "command-exists" == caught.value.code
    assert [] == list(tmp_path.iterdir())


def test_nothing_is_overwritten(registry: Registry, tmp_path: Path) -> None:
    """If only the test exists, nothing is written."""
    test = tmp_path / "tests" / "test_report_daily.py"
    test.parent.mkdir()
    test.write_text("mine")

    with pytest.raises(CommandError, match=r"already used by tests/test_report_daily\.py"):
        create(registry, "report/daily")

    assert ("mine", False) == (test.read_text(), (tmp_path / PACKAGE).exists())


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_new_task_passes_the_check_when_its_fields_are_filled_in(
    registry: Registry, category: str
) -> None:
    """Each of them is reported until then, and the class can be loaded at once."""
    project = Project("eighth", commands=(PACKAGE,))
    made = plan(
        Path(registry.root),
        PACKAGE,
        ["fill"],
        registry,
        templates(category, read_catalogue(registry, project)),
    )
    write(made)
    later = Registry(registry.packages, registry.root)
    todo = [problem for *_, problem in findings(later, project)]

    fields = {"owner", "author", "invoked_by", "approval", "expected_duration", "its purpose"}
    named = {
        problem.partition(": ")[2].partition(" is only")[0].partition(",")[0] for problem in todo
    }
    assert fields <= named, todo
    assert ("the docstring of is-right" in named) == ("verify" in NEEDED[category])
    source = made[-2].path.read_text(encoding="utf-8").replace("TODO: ", "")
    source = source.replace("rollback=", "irreversible=")
    made[-2].path.write_text(source, encoding="utf-8")
    del sys.modules[f"{PACKAGE}.fill"]

    assert [] == list(findings(later, project))
