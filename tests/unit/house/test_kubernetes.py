"""deploy/kubernetes: what kustomize builds from it, checked without a cluster.

After a change, `python tests/unit/house/test_kubernetes.py` stores what the overlays build now.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
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
from oneoff.services.exit_codes import pod_failure_policy
from tests.support.servers.programs import find_program
from tests.support.web import procfile

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "deploy/kubernetes/overlays"
BUILT = Path(__file__).parent / "kubernetes"
OVERLAYS = ("staging", "production", "production/batch")
SCHEMAS: dict[str, Any] = json.loads((ROOT / "tests/support/schemas/kubernetes.json").read_text())
KNOWN = {setting.name for setting in SETTINGS} | {name.upper() for name in Settings.model_fields}


def build(overlay: str) -> str:
    """Return what the kustomize in kubectl builds."""
    done = subprocess.run(
        [find_program("kubectl"), "kustomize", FOLDER / overlay],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, f"{done.stderr}kubectl 1.27 or later is needed"
    return done.stdout


def golden(overlay: str) -> Path:
    """Return the file with what the overlay built before."""
    return BUILT / f"{overlay.replace('/', '-')}.yaml"


def objects() -> Iterator[dict[str, Any]]:
    """Yield all objects of all overlays."""
    for overlay in OVERLAYS:
        yield from yaml.safe_load_all(golden(overlay).read_text())


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the component and the pod of each workload."""
    for item in objects():
        if "template" in (spec := job_of(item) or item.get("spec", {})):
            component = spec["template"]["metadata"]["labels"]["app.kubernetes.io/component"]
            yield component, spec["template"]["spec"]


def job_of(item: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of a Job, also of the one that a CronJob creates; otherwise nothing."""
    if item["kind"] not in {"Job", "CronJob"}:
        return {}
    spec: dict[str, Any] = item["spec"]
    return spec["jobTemplate"]["spec"] if item["kind"] == "CronJob" else spec


def problems(item: dict[str, Any]) -> list[str]:
    """Return what the schema of Kubernetes does not allow."""
    kind = SCHEMAS["kinds"][f"{item['apiVersion']} {item['kind']}"]
    schema = {"$ref": kind, "$defs": SCHEMAS["$defs"]}
    return [error.message for error in Draft202012Validator(schema).iter_errors(item)]


PODS = list(pods())


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kustomize_builds_what_it_built_before(overlay: str) -> None:
    """A change of the base shows what it changes in each environment."""
    assert golden(overlay).read_text() == build(overlay)


def test_every_object_matches_its_schema() -> None:
    """All kinds have one, so none is left out."""
    assert [] == [problem for item in objects() for problem in problems(item)]
    assert set(SCHEMAS["kinds"]) == {f"{item['apiVersion']} {item['kind']}" for item in objects()}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("spec", "concurrencyPolcy"), "Forbid", "'concurrencyPolcy' was unexpected"),
        (("spec", "startingDeadlineSeconds"), "1h", "'1h' is not of type 'integer', 'null'"),
        (("spec", "jobTemplate", "spec", "backofLimit"), 3, "'backofLimit' was unexpected"),
    ],
)
def test_the_schema_finds_a_mistake(path: tuple[str, ...], value: object, message: str) -> None:
    """A misspelled field, also deep inside, and a wrong type."""
    cron_job = part = next(item for item in objects() if item["kind"] == "CronJob")
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value

    (problem,) = problems(cron_job)
    assert message in problem


def test_jobs_have_the_policy_that_the_command_prints() -> None:
    """The indexed one where each pod has its own shard."""
    jobs = [job for item in objects() if (job := job_of(item))]

    assert 5 == len(jobs)
    for job in jobs:
        indexed = job.get("completionMode") == "Indexed"
        printed = yaml.safe_load(pod_failure_policy(indexed=indexed))
        assert printed["podFailurePolicy"] == job["podFailurePolicy"]
        assert indexed == ("backoffLimitPerIndex" in job)


@pytest.mark.parametrize(("component", "pod"), PODS)
def test_pods_meet_the_restricted_standard(component: str, pod: dict[str, Any]) -> None:
    """They have no rights, and can write only in /tmp."""
    (container,) = pod["containers"]

    assert {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}} == pod[
        "securityContext"
    ], component
    assert {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    } == container["securityContext"]
    assert [{"mountPath": "/tmp", "name": "tmp"}] == container["volumeMounts"]  # noqa: S108
    assert (False, False) == (pod["automountServiceAccountToken"], pod["enableServiceLinks"])


@pytest.mark.parametrize(("component", "pod"), PODS)
def test_pods_have_time_to_stop_cleanly(component: str, pod: dict[str, Any]) -> None:
    """20 seconds, after the time in which requests still arrive."""
    (container,) = pod["containers"]
    sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)

    assert ("web" == component) == bool(sleep)
    assert pod["terminationGracePeriodSeconds"] >= 20 + sleep + 5


@pytest.mark.parametrize(("component", "pod"), PODS)
def test_pods_run_commands_that_exist(component: str, pod: dict[str, Any]) -> None:
    """Web and worker have the lines of the Procfile, and the others are commands of the project."""
    (container,) = pod["containers"]
    commands = [
        container["args"],
        *(probe["exec"]["command"] for probe in container.values() if "exec" in probe),
    ]
    if component in procfile():
        line = procfile()[component].replace("${PORT:-8000}", "8000")
        assert line.split() == commands.pop(0)
    app = load_application("app.project:project", str(ROOT), {})
    for command in commands:
        assert "admin" == command[0]
        assert isinstance(dispatch(app, command[1:], "admin"), Call)


def test_settings_are_known() -> None:
    """And each environment has its own name."""
    maps = [item["data"] for item in objects() if item["kind"] == "ConfigMap"]

    assert ["staging", "production"] == [data["ENVIRONMENT"] for data in maps]
    assert set().union(*maps) <= KNOWN


def test_argo_cd_migrates_after_the_settings_and_before_the_rest() -> None:
    """Sync waves are in this order, and the Job of the last release is removed first."""
    production = list(yaml.safe_load_all(golden("production").read_text()))
    waves = {
        (item["kind"], item["metadata"]["name"]): item["metadata"].get("annotations", {})
        for item in production
    }
    wave = "argocd.argoproj.io/sync-wave"

    migrate = waves.pop(("Job", "shop-migrate"))
    assert "BeforeHookCreation" == migrate["argocd.argoproj.io/hook-delete-policy"]
    assert "-1" == migrate[wave]
    for kind in ("ConfigMap", "ServiceAccount"):
        assert "-2" == waves.pop((kind, "shop"))[wave]
    assert [{}] * len(waves) == list(waves.values())


if __name__ == "__main__":
    BUILT.mkdir(exist_ok=True)
    for name in OVERLAYS:
        golden(name).write_text(build(name))
