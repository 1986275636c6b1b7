"""The Kubernetes manifest in the how-to of batches on many workers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # its stubs are no dependency

from oneoff.core.parsing import parse
from oneoff.runtime.application import find_project, load_application
from oneoff.services.exit_codes import pod_failure_policy

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/howto/run-a-batch-on-many-workers.md"


@pytest.fixture
def spec() -> Any:
    """Return the spec of the Job."""
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (manifest,) = [yaml.safe_load(block) for block in blocks]
    assert ("batch/v1", "Job") == (manifest["apiVersion"], manifest["kind"])
    return manifest["spec"]


def test_the_job_has_a_pod_for_each_shard(spec: Any) -> None:
    """The reference project accepts its command line."""
    (container,) = spec["template"]["spec"]["containers"]
    app = load_application(*find_project(str(ROOT), {}))
    entry, words = app.registry.find(container["args"])
    command: Any = parse(app.registry.load(entry), words).command

    shards = spec["completions"]
    assert "Indexed" == spec["completionMode"]
    assert (shards, shards) == command.shards_to_do({"JOB_COMPLETION_INDEX": str(shards - 1)})
    assert "$(JOB_UID)" == command.once
    assert ["JOB_UID"] == [variable["name"] for variable in container["env"]]


def test_an_error_of_one_shard_fails_only_its_index(spec: Any) -> None:
    """The policy is the one that the command prints."""
    printed = yaml.safe_load(pod_failure_policy(indexed=True))

    assert "Never" == spec["template"]["spec"]["restartPolicy"]
    assert spec["backoffLimitPerIndex"] > 0
    assert printed["podFailurePolicy"] == spec["podFailurePolicy"]
