"""Procfile, app.json and compose.yaml agree with each other and with the project.

No container engine runs here, so the tests prove only that every name in the files exists.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # its stubs are no dependency

from app.settings import Settings
from oneoff.cli.dispatch import dispatch
from oneoff.config.database_url import parse_database_url
from oneoff.config.redis_url import parse_redis_url
from oneoff.config.settings import SETTINGS
from oneoff.core.outcome import Call
from oneoff.runtime.application import load_application
from tests.support.web import procfile

ROOT = Path(__file__).parents[3]
KNOWN = {setting.name for setting in SETTINGS} | {name.upper() for name in Settings.model_fields}
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
APP: dict[str, Any] = json.loads((ROOT / "app.json").read_text())
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


def parses(words: list[str]) -> bool:
    """Return whether these words are a command line of the project."""
    app = load_application("app.project:project", str(ROOT), {})
    return isinstance(dispatch(app, words, "admin"), Call)


def test_the_procfile_has_a_line_for_each_process() -> None:
    """The release phase migrates before any of them starts."""
    assert ["web", "worker", "release"] == list(procfile())
    assert "python manage.py migrate" == procfile()["release"]


@pytest.mark.parametrize("name", ["web", "worker"])
def test_containers_run_the_commands_of_the_procfile(name: str) -> None:
    """Except for the port, which is fixed in a container."""
    line = procfile()[name].replace("${PORT:-8000}", "8000")

    assert line.split() == OURS[name]["command"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_waits_only_for_services_with_a_health_check_or_an_end(name: str) -> None:
    """`service_healthy` needs a health check, and completion needs a service that ends."""
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[needed]
        else:
            assert ("service_completed_successfully", "migrate") == (how["condition"], needed)
    if name in {"web", "worker"}:
        assert {"migrate", "redis"} == set(SERVICES[name]["depends_on"])


@pytest.mark.parametrize("name", OURS)
def test_containers_get_known_settings(name: str) -> None:
    """They are valid, and point to services of the file."""
    environ = OURS[name]["environment"]
    database = parse_database_url(environ["DATABASE_URL"], ROOT, "shop")
    redis = parse_redis_url(environ["REDIS_URL"])

    assert set(environ) <= KNOWN
    assert {database.host, redis.host} <= set(SERVICES)


def test_the_commands_of_containers_exist() -> None:
    """The command of the migration, and of the worker's health check."""
    lines = [OURS["migrate"]["command"], OURS["worker"]["healthcheck"]["test"][1:]]

    assert ["admin", "admin"] == [line[0] for line in lines]
    assert all(parses(line[1:]) for line in lines)


def test_app_json_matches_the_procfile() -> None:
    """Its settings exist, and its checks use existing pages and commands."""
    assert {"web", "worker"} == set(APP["formation"])
    assert set(APP["env"]) <= KNOWN
    for check in APP["healthchecks"]["web"]:
        assert check["path"] in {"/health/ready", "/health/live"}
    (check,) = APP["healthchecks"]["worker"]
    # A buildpack installs requirements.txt, but not the project, so there is no `admin`.
    assert ["python", "manage.py"] == check["command"][:2]
    assert parses(check["command"][2:])


def test_a_buildpack_uses_a_version_of_python_that_the_project_supports() -> None:
    """Without the file it uses its newest one."""
    wanted = (ROOT / ".python-version").read_text().strip()
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]

    assert f"Programming Language :: Python :: {wanted}" in declared


def test_a_buildpack_and_the_image_use_the_same_version_of_python() -> None:
    """What works in one works in the other."""
    wanted = (ROOT / ".python-version").read_text().strip()

    assert f"ARG PYTHON_VERSION={wanted}\n" in (ROOT / "Dockerfile").read_text()
