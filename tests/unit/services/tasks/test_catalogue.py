"""The catalogue is read from the classes, and says what it could not read."""

from __future__ import annotations

from pathlib import Path

import pytest

from oneoff import CommandError, ConfigurationError, Project
from oneoff.runtime.application import Application, load_application
from oneoff.services.tasks.catalogue import read_catalogue, undoing
from oneoff.services.tasks.files import stale_files
from oneoff.services.tasks.findings import findings
from tests.support.command_package import Package, command

ROOT = Path(__file__).resolve().parents[4]


def test_a_rollback_is_found_by_its_command_line() -> None:
    """Also by an alias, and for a transform by its name and `--revert`."""
    app = load_application("app.project:project", str(ROOT), {})
    catalogue = read_catalogue(app.registry, app.project)
    undone = {one.task.id: undoing(catalogue, app.registry, one) for one in catalogue.entries}

    assert {
        "ADM-001": "ADM-001-revert",
        "ADM-001-revert": "ADM-001",
        "ADM-002": "ADM-002-revert",
        "ADM-002-revert": "ADM-002",
    } == {task_id: found.task.id for task_id, found in undone.items() if found}


def test_a_module_that_can_not_be_imported_is_named(
    command_package: Package, tmp_path: Path
) -> None:
    """Its task is unknown, so no pages are written."""
    command_package.write(bad="import nowhere_at_all", report=command())
    registry, project = command_package.registry(), Project("shop")

    found = read_catalogue(registry, project)

    assert ["ninth/bad.py can't be imported, so its task is not known"] == found.warnings
    with pytest.raises(ConfigurationError, match=r"ninth/bad\.py can't be imported"):
        stale_files(tmp_path / "tasks", registry, project)


def test_transforms_that_can_not_be_loaded_are_found() -> None:
    """`commands check` names them."""
    project = Project("shop", commands=(), transforms="nowhere_at_all:TRANSFORMS")
    registry = Application(project, str(ROOT), {}).registry

    assert [
        ("data transform", "nowhere_at_all:TRANSFORMS", "the transforms can't be loaded")
    ] == list(findings(registry, project))


def test_the_task_of_a_built_in_command_is_a_task() -> None:
    """The error names the import string."""
    project = Project("shop", commands=(), tasks={"db migrate": "app.project:project"})
    registry = Application(project, str(ROOT), {}).registry

    with pytest.raises(
        CommandError, match=r"'app\.project:project', the task of 'db migrate', is of the type Proj"
    ):
        registry.load(registry.find(["migrate"])[0])
