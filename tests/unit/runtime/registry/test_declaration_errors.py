"""An error in a declaration names the line of the declaration."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from oneoff.core.errors import ConfigurationError
from tests.support.command_package import Package, command

ErrorOf = Callable[[str], str]

FIELD_LINE = 10
"""The line of the inputs in `command()`."""
CLASS = '''
from oneoff import Access, BaseCommand, Confirm, DryRun, Result


class Report(BaseCommand):
    """Write a report."""

    {policy}

    async def handle(self) -> Result:
        return Result.unchanged("written")
'''


@pytest.fixture
def error_of(command_package: Package, monkeypatch: pytest.MonkeyPatch) -> ErrorOf:
    """Return a function that writes the command `report`, and returns the error of loading it."""
    monkeypatch.chdir(command_package.root)

    def error_of(source: str) -> str:
        command_package.write(report=source)
        registry = command_package.registry()
        with pytest.raises(ConfigurationError) as caught:
            registry.load(registry.find(["report"])[0])
        assert "command-broken" == caught.value.code
        return caught.value.message

    return error_of


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ("a = Option(help='A.')", "Report.a: needs a type annotation"),
        ("a: dict = Option(help='A.')", "Report.a: <class 'dict'> can't be given on a command"),
        ("json: str = Option(help='A.')", "Report.json: every command already has 'json'"),
        ("a: 'Nowhere' = Option(help='A.')", "Report.a: name 'Nowhere' is not defined; import it"),
        ("a: 'str.nothing' = Option(help='A.')", "Report.a: AttributeError: type object 'str'"),
        ("a: 'no type' = Option(help='A.')", "Report.a: SyntaxError: "),
    ],
)
def test_a_wrong_input_names_its_line(error_of: ErrorOf, inputs: str, problem: str) -> None:
    """It is found when the input is first used; then the class is already defined."""
    message = error_of(command(inputs))

    expected = f"'report' is broken: ninth/report.py:{FIELD_LINE}: DeclarationError: {problem}"
    assert expected == message[: len(expected)]


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        ("access = Access.WRITE", "writes, so it must declare dry_run"),
        ("access = 'write'", "access = 'write' must be of the type Access"),
        ("confirm = True", "confirm = True must be of the type Confirm"),
        ("dry_run = True", "dry_run = True must be of the type DryRun"),
        ("lock = True", "lock = True must be of the type str"),
        ("environments = 'staging'", "environments = 'staging' must be of the type frozenset"),
        ("examples = ('report')", "examples = 'report' must be of the type tuple"),
    ],
)
def test_a_wrong_policy_names_the_class(error_of: ErrorOf, policy: str, problem: str) -> None:
    """The framework raises the error, but the line is in the command's file."""
    message = error_of(CLASS.format(policy=policy))

    expected = f"'report' is broken: ninth/report.py:5: TypeError: ninth.report.Report: {problem}"
    assert expected == message[: len(expected)]
