"""The workflows of GitHub, and the scan for secrets. No workflow runs here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # its stubs are no dependency
from detect_secrets.core.scan import scan_file
from detect_secrets.settings import transient_settings
from jsonschema import (  # type: ignore[import-untyped] # its stubs are no dependency
    Draft7Validator,
)

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS = ROOT / ".github/workflows"
LINTER = [
    str(Path(sys.executable).parent / "jactionlint"),
    "--no-hints",
    "--no-color",
    "--shellcheck=",
]
BASELINES = (".secrets.baseline", "tests/.secrets.baseline")


def lint(text: str = "") -> subprocess.CompletedProcess[str]:
    """Check one workflow, or all files if there is no text."""
    return subprocess.run(
        [*LINTER, *(["-"] if text else [])],
        cwd=ROOT,
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )


def steps(name: str, job: str) -> list[dict[str, Any]]:
    """Return the steps of a job."""
    found: list[dict[str, Any]] = yaml.safe_load((WORKFLOWS / name).read_text())["jobs"][job][
        "steps"
    ]
    return found


def test_the_linter_finds_nothing() -> None:
    """Syntax, expressions, rights, injection, and actions that are pinned to a commit."""
    assert (0, "") == (lint().returncode, lint().stdout)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("      - uses: actions/checkout@v5", "[unpinned-uses]"),
        ("      - run: echo ${{ github.event.issue.title }}", "[template-injection]"),
        ("      - run: echo ${{ inputs.environment }}", "[undefined-property]"),
        ("      - runs: make test", "[workflow-syntax]"),
    ],
)
def test_the_linter_finds_a_mistake(line: str, rule: str) -> None:
    """In a workflow that is right otherwise."""
    text = (
        "name: x\non: issues\npermissions: {}\nconcurrency: {group: x, cancel-in-progress: true}\n"
        "jobs:\n  x:\n    runs-on: ubuntu-24.04\n    timeout-minutes: 5\n    steps:\n"
    )

    assert rule in lint(f"{text}{line}\n").stdout
    assert rule not in lint(f"{text}      - run: make test\n").stdout


def test_dependabot_yml_matches_the_published_schema() -> None:
    """A misspelled field is found."""
    vendor = files("check_jsonschema") / "builtin_schemas/vendor/dependabot.json"
    validator = Draft7Validator(json.loads(vendor.read_text()))
    content = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())
    found = [error.message for error in validator.iter_errors(content)]
    content["updates"][0]["package-ecosytem"] = "pip"

    assert [] == found
    assert [] != list(validator.iter_errors(content))


def test_a_deployment_migrates_before_it_rolls_out() -> None:
    """The seeds are loaded in the first deployment only, with a command that can be repeated."""
    named = {step["name"]: step for step in steps("deploy.yml", "deploy") if "name" in step}

    order = [name for name in named if name in {"Migrate", "Roll out", "Load the seeds"}]
    assert ["Migrate", "Roll out", "Load the seeds"] == order
    assert ["Load the seeds"] == [name for name, step in named.items() if "if" in step]
    assert "${{ inputs.first }}" == named["Load the seeds"]["if"]
    assert "admin db seed --confirm" in named["Load the seeds"]["run"]
    assert "-l app.kubernetes.io/component=migrate\n" in named["Migrate"]["run"]
    assert "-l 'app.kubernetes.io/component!=migrate'\n" in named["Roll out"]["run"]


def test_a_release_publishes_nothing_before_its_tag_and_its_tests_are_checked() -> None:
    """Each job that may write waits for both, or a wrong tag would still publish an image."""
    jobs = yaml.safe_load((WORKFLOWS / "release.yml").read_text())["jobs"]
    writers = [job for job in jobs.values() if "write" in job.get("permissions", {}).values()]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    (check,) = (step["run"] for step in jobs["tag"]["steps"] if "run" in step)
    codes = [
        subprocess.run(
            ["bash", "-ec", check], cwd=ROOT, env={**os.environ, "TAG": tag}, check=False
        ).returncode
        for tag in (f"v{version}", "v99.0.0")
    ]

    assert [{"tag", "test"}] * 2 == [set(job["needs"]) for job in writers]
    assert [0, 1] == codes


@pytest.mark.parametrize("baseline", BASELINES)
def test_the_scan_finds_a_key(baseline: str, tmp_path: Path) -> None:
    """In the tests too. Each known finding was judged, and its file exists."""
    content = json.loads((ROOT / baseline).read_text())
    file = tmp_path / "id_rsa"
    file.write_text("-----BEGIN RSA PRIVATE " + "KEY-----\n")

    with transient_settings(content):
        assert ["Private Key"] == [found.type for found in scan_file(str(file))]
    for path, found in content["results"].items():
        assert (ROOT / path).is_file()
        assert {False} == {finding["is_secret"] for finding in found}
