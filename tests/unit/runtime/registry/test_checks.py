"""`commands check`: everything wrong with a project's commands, in one go."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from oneoff import CheckFailed, CommandError, Project
from oneoff.commands.commands.check import Check
from oneoff.commands.commands.docs import Docs
from oneoff.commands.commands.list import List
from oneoff.runtime.registry.checks import findings
from oneoff.runtime.registry.registry import Registry

ROOT = Path(__file__).resolve().parents[4]
COMMAND = '''
from oneoff import Access, Argument, BaseCommand, Flag, Option, Result, Secret, SecretStr


class Report(BaseCommand):
    """Write a report."""

    examples = ("report",)

    {inputs}

    async def handle(self{resources}) -> Result:
        return Result.unchanged("written")
'''
FindAll = Callable[..., list[str]]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FindAll]:
    """Return a function that writes modules of `ninth` and gives all findings."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "ninth").mkdir()
    (tmp_path / "ninth" / "__init__.py").write_text("")

    def check_modules(packages: tuple[str, ...] = ("ninth",), **texts: str) -> list[str]:
        for name, text in texts.items():
            (tmp_path / "ninth" / f"{name}.py").write_text(text)
        registry = Registry(packages, str(tmp_path))
        project = Project("shop", resources={"mailer": "x:y"})
        return [f"{file}: {problem}" for _, file, problem in findings(registry, project)]

    yield check_modules
    for name in [name for name in sys.modules if name.partition(".")[0] == "ninth"]:
        del sys.modules[name]


def command(inputs: str = "", resources: str = "") -> str:
    """Return the source of a command."""
    return COMMAND.format(inputs=inputs, resources=resources)


def test_a_right_command_has_no_findings(check: FindAll) -> None:
    """Resources are the framework's, or registered by the project."""
    assert [] == check(report=command(resources=", session, log, mailer, registry"))


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        (
            """a: list[str] = Argument(default=[], help="A.")
    b: str = Argument(default="", help="B.")""",
            "A takes all remaining words, so B never gets any",
        ),
        (
            'a: str = Argument(default="", help="A.")\n    b: str = Argument(help="B.")',
            "B is required but stands after A, which is not",
        ),
        (
            'a: str = Option(default="", help="A.", short="v")',
            "a is spelled -v, which every command has already",
        ),
        (
            """password: SecretStr | None = Secret(default=None, help="A.", env="A")
    password_stdin: bool = Flag(help="B.")""",
            "password_stdin is spelled --password-stdin, which password has already",
        ),
        ("a = Option(help='A.')", "needs a type annotation, which says how to parse it"),
        ("a: dict = Option(help='A.')", "can't be given on a command line"),
    ],
)
def test_inputs_that_contradict_each_other_are_found(
    check: FindAll, inputs: str, problem: str
) -> None:
    """Before an operator meets them."""
    (found,) = check(report=command(inputs).replace('("report",)', '("report x y",)'))[:1]

    assert problem in found


def test_a_resource_nobody_provides_is_found(check: FindAll) -> None:
    """The finding lists what there is."""
    (found,) = check(report=command(resources=", mailr"))

    assert found.startswith(
        "ninth/report.py: handle asks for 'mailr', which nobody provides; known"
    )
    assert "mailer" in found


@pytest.mark.parametrize(
    ("examples", "problem"),
    [
        ("()", 'has no example; declare one: examples = ("report",)'),
        ('("report --limt",)', "example 'report --limt': report has no option --limt"),
        ('("report one | wc -l",)', "example 'report one | wc -l': 'one' is one word too many"),
        ('("other",)', "example 'other' runs other"),
        ('("report \'",)', 'example "report \'": No closing quotation'),
    ],
)
def test_examples_have_to_parse(check: FindAll, examples: str, problem: str) -> None:
    """They are real command lines of this command."""
    found = check(
        report=command().replace('("report",)', examples),
        other=command().replace('("report",)', '("other",)'),
    )

    assert [f"ninth/report.py: {problem}"] == found


def test_what_stands_behind_a_pipe_is_not_ours(check: FindAll) -> None:
    """An example may show how the output is used."""
    assert [] == check(report=command().replace('("report",)', '("report | wc -l",)'))


def test_a_broken_module_does_not_hide_the_others(check: FindAll) -> None:
    """All findings come at once; so does a package that does not exist."""
    found = check(
        ("ninth", "tenth"),
        bad="import nowhere_at_all",
        worse="class X(:",
        report=command(resources=", mailr"),
    )

    assert ["tenth", "ninth/bad.py", "ninth/report.py", "ninth/worse.py"] == [
        text.partition(":")[0] for text in found
    ]


def test_the_command_fails_with_every_finding(check: FindAll, tmp_path: Path) -> None:
    """Exit code 1, and the findings as data."""
    check(bad="import nowhere_at_all", report=command())

    with pytest.raises(CommandError) as caught:
        Check().handle(Registry(("ninth",), str(tmp_path)), Project("shop"))

    error = caught.value
    assert ("commands-broken", 1) == (error.code, int(error.exit_code))
    assert "1 of 2 commands are broken" == error.message
    assert ["bad"] == [finding["command"] for finding in error.data]


def test_all_commands_of_this_project_are_fine() -> None:
    """Built-in ones and those of the reference project."""
    from app.project import project

    registry = Registry.of_project(project.commands, str(ROOT))

    assert [] == list(findings(registry, project))


def test_the_list_shows_policy_and_what_is_broken(check: FindAll, tmp_path: Path) -> None:
    """A broken command is a row, not an error."""
    check(bad="import nowhere_at_all", report=command())

    result = List(names=False).handle(Registry(("ninth",), str(tmp_path)))

    bad, report = result.data
    assert "BROKEN 'bad' is broken: " in bad["summary"]
    assert {
        "name": "report",
        "summary": "Write a report.",
        "access": "read",
        "confirm": "never",
        "dry_run": "unsupported",
        "package": "ninth",
        "file": "ninth/report.py",
    } == report


def test_a_list_of_names_imports_nothing(check: FindAll, tmp_path: Path) -> None:
    """A broken module is only a name."""
    check()
    (tmp_path / "ninth" / "bad.py").write_text("raise SystemExit")

    result = List(names=True).handle(Registry(("ninth",), str(tmp_path)))

    assert [{"name": "bad"}] == result.data


@pytest.fixture
def docs(check: FindAll, tmp_path: Path) -> Callable[..., object]:
    """Return a function that runs `commands docs` on a project with one command."""
    check(report=command())

    def run(*, only_check: bool = False, dry_run: bool = False) -> object:
        class Config:
            root = tmp_path

        class Run:
            pass

        run_info, config = Run(), Config()
        vars(run_info)["dry_run"] = dry_run
        handle: Any = Docs(check=only_check, output=Path("page.md")).handle
        result: object = handle(config, Registry(("ninth",), str(tmp_path)), run_info)
        return result

    return run


def test_the_reference_is_written_once(docs: Callable[..., object], tmp_path: Path) -> None:
    """The second run changes nothing."""
    first, second = docs(), docs()

    assert ["wrote page.md", "page.md is up to date"] == [
        getattr(result, "message", "") for result in (first, second)
    ]
    assert "### report" in (tmp_path / "page.md").read_text()


def test_a_dry_run_writes_no_page(docs: Callable[..., object], tmp_path: Path) -> None:
    """It says what it would do."""
    docs(dry_run=True)

    assert not (tmp_path / "page.md").exists()


def test_a_stale_page_is_a_finding(docs: Callable[..., object], tmp_path: Path) -> None:
    """Exit code 3; nothing is written."""
    (tmp_path / "page.md").write_text("old")

    with pytest.raises(CheckFailed) as caught:
        docs(only_check=True)

    assert ("reference-stale", 3) == (caught.value.code, int(caught.value.exit_code))
    assert "old" == (tmp_path / "page.md").read_text()
