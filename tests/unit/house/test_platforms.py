"""The files of platforms that can't run here: their fields are known, and so is what they name.

compose.yaml is checked with the published schema, which check-jsonschema contains. The schemas of
the others allow only the fields that our files use, as the platforms' documentation describes them.
"""

from __future__ import annotations

import copy
import json
import shlex
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # its stubs are no dependency
from jsonschema import (  # type: ignore[import-untyped] # its stubs are no dependency
    Draft202012Validator,
)

from app.settings import Settings
from oneoff.cli.dispatch import dispatch
from oneoff.config.settings import SETTINGS
from oneoff.core.outcome import Call
from oneoff.runtime.application import load_application
from tests.support.web import procfile

ROOT = Path(__file__).resolve().parents[3]
KNOWN = {setting.name for setting in SETTINGS} | {name.upper() for name in Settings.model_fields}
PUBLISHED = files("check_jsonschema") / "builtin_schemas/vendor"
FLY: dict[str, Any] = tomllib.loads((ROOT / "fly.toml").read_text())
RENDER: dict[str, Any] = yaml.safe_load((ROOT / "render.yaml").read_text())
FILES: dict[str, Any] = {
    "app": json.loads((ROOT / "app.json").read_text()),
    "fly": FLY,
    "render": RENDER,
}
LINES = {name: line.replace("${PORT:-8000}", "8000") for name, line in procfile().items()}


def problems(name: str, content: Any) -> list[str]:
    """Return what the schema of a file does not allow."""
    schema = json.loads((ROOT / f"tests/support/schemas/{name}.json").read_text())
    return [error.message for error in Draft202012Validator(schema).iter_errors(content)]


def parses(line: str) -> bool:
    """Return whether a line is a command of the project."""
    program, *words = shlex.split(line)
    app = load_application("app.project:project", str(ROOT), {})
    return program == "admin" and isinstance(dispatch(app, words, "admin"), Call)


@pytest.mark.parametrize("name", FILES)
def test_the_file_has_only_known_fields(name: str) -> None:
    """Of the right types."""
    assert [] == problems(name, FILES[name])


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("app", ("formation", "web", "quantity")),
        ("fly", ("deploy", "release_command")),
        ("fly", ("http_service", "checks", 0, "path")),
        ("render", ("services", 0, "maxShutdownDelaySeconds")),
        ("render", ("services", 0, "envVars", 1, "fromDatabase", "name")),
    ],
)
def test_a_misspelled_field_is_found(name: str, path: tuple[str | int, ...]) -> None:
    """A field that a platform does not know has no effect there."""
    content = part = copy.deepcopy(FILES[name])
    for key in path[:-1]:
        part = part[key]
    part[f"{path[-1]}x"] = part.pop(path[-1])

    assert [] != problems(name, content)


def test_compose_yaml_matches_the_published_schema() -> None:
    """A misspelled field is found."""
    validator = Draft202012Validator(json.loads((PUBLISHED / "compose-spec.json").read_text()))
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    found = [error.message for error in validator.iter_errors(compose)]
    compose["services"]["web"]["depend_on"] = []

    assert [] == found
    assert [] != list(validator.iter_errors(compose))


def test_fly_migrates_and_runs_the_lines_of_the_procfile() -> None:
    """The proxy asks a page that exists, at the port of the web process."""
    service = FLY["http_service"]

    assert parses(FLY["deploy"]["release_command"])
    assert {"web": LINES["web"], "worker": LINES["worker"]} == FLY["processes"]
    assert (["web"], 8000) == (service["processes"], service["internal_port"])
    assert ["/health/ready"] == [check["path"] for check in service["checks"]]
    assert ("SIGTERM", "30s") == (FLY["kill_signal"], FLY["kill_timeout"])
    assert set(FLY["env"]) <= KNOWN


def test_render_migrates_and_runs_the_lines_of_the_procfile() -> None:
    """All its settings exist, and its services and groups name each other."""
    web, worker, redis = RENDER["services"]
    (database,), (group,) = RENDER["databases"], RENDER["envVarGroups"]

    assert [LINES["web"], LINES["worker"]] == [web["dockerCommand"], worker["dockerCommand"]]
    assert "/health/ready" == web["healthCheckPath"]
    assert {"key": "PORT", "value": "8000"} == web["envVars"][0]
    for service in (web, worker):
        assert parses(service["preDeployCommand"])
        assert service["maxShutdownDelaySeconds"] >= 25
        own = {variable.get("key") for variable in service["envVars"]} - {None, "PORT"}
        shared = {variable["key"] for variable in group["envVars"]}
        assert own | shared <= KNOWN
        names = [variable.get("fromDatabase", {}).get("name") for variable in service["envVars"]]
        names += [variable.get("fromService", {}).get("name") for variable in service["envVars"]]
        names += [variable.get("fromGroup") for variable in service["envVars"]]
        assert {database["name"], redis["name"], group["name"], None} == set(names)
