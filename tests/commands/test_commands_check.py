"""`commands check`."""

from __future__ import annotations

import pytest

from oneoff import CommandError, Project
from oneoff.commands.commands.check import Check
from oneoff.testing import Manage
from tests.support.command_package import Package, command


def test_the_command_fails_with_every_finding(command_package: Package) -> None:
    """Exit code 1, and the findings as data."""
    command_package.write(bad="import nowhere_at_all", report=command())

    with pytest.raises(CommandError) as caught:
        Check().handle(command_package.registry(), Project("shop"))

    error = caught.value
    assert ("commands-broken", 1) == (error.code, int(error.exit_code))
    assert "1 of 2 commands can't be used" == error.message
    assert ["bad"] == [finding["command"] for finding in error.data]


@pytest.mark.parametrize("manage_environ", ["sqlite"], indirect=True)
async def test_it_shows_the_number_of_checked_commands(manage: Manage) -> None:
    """The built-in ones and those of the reference project."""
    listed = await manage("commands list --names --json")
    checked = await manage("commands check")

    assert (0, 0) == (listed.exit_code, checked.exit_code), checked.stderr
    assert f"all {len(listed.json['data'])} commands are fine\n" == checked.stdout


def test_an_entry_of_pii_that_no_model_has_is_a_warning(command_package: Package) -> None:
    """With a misspelled name, an export would not mask the column."""
    command_package.write(report=command())
    names = ("users.email", "public.users.email", "phone", "users.emial")
    project = Project("shop", metadata="app.models:Base.metadata", pii=names)

    checked = Check().handle(command_package.registry(), project)

    why = "which is no column of the models: a misspelled name masks nothing"
    assert [
        f"Project(pii=...) names 'phone', {why}",
        f"Project(pii=...) names 'users.emial', {why}",
    ] == list(checked.warnings)
