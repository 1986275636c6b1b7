"""The checks report all problems of a project's commands at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

from oneoff import Project
from oneoff.runtime.registry.checks import findings
from oneoff.runtime.registry.registry import Registry
from tests.support.command_package import Package, command

ROOT = Path(__file__).resolve().parents[4]
FindAll = Callable[..., list[str]]


@pytest.fixture
def check(command_package: Package) -> FindAll:
    """Return a function that writes modules of `ninth` and returns all findings."""

    def check_modules(packages: tuple[str, ...] = ("ninth",), **texts: str) -> list[str]:
        command_package.write(**texts)
        registry = Registry(packages, command_package.root)
        project = Project("shop", resources={"mailer": "x:y"})
        return [f"{file}: {problem}" for _, file, problem in findings(registry, project)]

    return check_modules


def test_a_correct_command_has_no_findings(check: FindAll) -> None:
    """Its resources are the framework's, or registered by the project."""
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
            "B is required but comes after A, which is not",
        ),
        (
            'a: str = Option(default="", help="A.", short="v")',
            "a is spelled -v, which every command already uses",
        ),
        (
            """password: SecretStr | None = Secret(default=None, help="A.", env="A")
    password_stdin: bool = Flag(help="B.")""",
            "password_stdin is spelled --password-stdin, which password already uses",
        ),
        ("a = Option(help='A.')", "needs a type annotation, which determines how to parse it"),
        ("a: dict = Option(help='A.')", "can't be given on a command line"),
    ],
)
def test_inputs_that_contradict_each_other_are_found(
    check: FindAll, inputs: str, problem: str
) -> None:
    """Each contradiction is reported as a problem."""
    (found,) = check(report=command(inputs).replace('("report",)', '("report x y",)'))[:1]

    assert problem in found


def test_a_resource_without_provider_is_found(check: FindAll) -> None:
    """The finding lists the resources that exist."""
    (found,) = check(report=command(resources=", mailr"))

    assert found.startswith(
        "ninth/report.py: handle asks for 'mailr', which has no provider; known"
    )
    assert "mailer" in found


@pytest.mark.parametrize(
    ("examples", "problem"),
    [
        ("()", 'has no example; declare one: examples = ("report",)'),
        ('("report --limt",)', "example 'report --limt': report has no option --limt"),
        ('("report one | wc -l",)', "example 'report one | wc -l': unexpected argument 'one'"),
        ('("other",)', "example 'other' runs other"),
        ('("report \'",)', 'example "report \'": No closing quotation'),
    ],
)
def test_examples_must_parse(check: FindAll, examples: str, problem: str) -> None:
    """Each example is a valid command line of its command."""
    found = check(
        report=command().replace('("report",)', examples),
        other=command().replace('("report",)', '("other",)'),
    )

    assert [f"ninth/report.py: {problem}"] == found


def test_an_example_may_end_with_a_pipe(check: FindAll) -> None:
    """The part after the pipe is not checked."""
    assert [] == check(report=command().replace('("report",)', '("report | wc -l",)'))


def test_a_broken_module_does_not_hide_the_others(check: FindAll) -> None:
    """All findings are reported, including a package that does not exist."""
    found = check(
        ("ninth", "tenth"),
        bad="import nowhere_at_all",
        worse="class X(:",
        report=command(resources=", mailr"),
    )

    assert [
        "the commands package 'tenth'",
        "ninth/bad.py",
        "ninth/report.py",
        "ninth/worse.py",
    ] == [text.partition(":")[0] for text in found]


def test_files_that_no_command_can_be_named_after_are_findings(
    check: FindAll, command_package: Package, tmp_path: Path
) -> None:
    """They would be ignored in silence. Private names are left out."""
    package = Path(command_package.root, "ninth")
    for name in ("user_tasks", "re-ports", "texts-only", "__pycache__"):
        (package / name).mkdir()
    for file in ("my-report.py", "2fa.py", "_private.py", ".hidden-file.py", "notes-2.txt"):
        (package / file).write_text(command())
    for file in ("user_tasks/1st.py", "re-ports/daily.py", "texts-only/a.txt", "ready.pyc"):
        (package / file).write_bytes(b"")
    needs = "is not read: its name must consist of letters, digits and _, and start with a letter"

    found = check(report=command())

    assert [
        f"ninth/2fa.py: {needs}",
        f"ninth/my-report.py: {needs}; my_report.py would be 'my-report'",
        f"ninth/re-ports: {needs}; re_ports would be 're-ports'",
        "ninth/ready.pyc: is not a command: commands are read from their source, so deploy it too",
        f"ninth/user_tasks/1st.py: {needs}",
    ] == found


def test_a_package_in_a_zip_file_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python can import it, but its commands can't be found."""
    with ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.writestr("zipped_tasks/__init__.py", "")
        archive.writestr("zipped_tasks/report.py", command())
    monkeypatch.syspath_prepend(str(tmp_path / "app.zip"))

    registry = Registry(("zipped_tasks",), str(tmp_path))

    where = f"is in {tmp_path}/app.zip/zipped_tasks, which is not a folder; unpack it"
    assert [("the commands package 'zipped_tasks'", f"{where}, so that its files are found")] == (
        registry.problems()
    )


def test_the_commands_of_this_project_have_no_findings() -> None:
    """Both the built-in commands and those of the reference project."""
    from app.project import project

    registry = Registry.of_project(project.commands, str(ROOT))

    assert [] == list(findings(registry, project))
