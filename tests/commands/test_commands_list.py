"""`commands list`."""

from __future__ import annotations

from oneoff.commands.commands.list import List
from tests.support.command_package import Package, command


def test_the_list_shows_policy_and_what_is_broken(command_package: Package) -> None:
    """A broken command is a row, not an error."""
    command_package.write(bad="import nowhere_at_all", report=command())

    result = List(names=False).handle(command_package.registry())

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


def test_a_list_of_names_imports_nothing(command_package: Package) -> None:
    """A broken module is listed by its name."""
    command_package.write(bad="raise SystemExit")

    result = List(names=True).handle(command_package.registry())

    assert [{"name": "bad"}] == result.data
