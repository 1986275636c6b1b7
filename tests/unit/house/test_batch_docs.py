"""The Kubernetes manifest in the how-to of batches on many workers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # its stubs are no dependency

from oneoff.core.errors import ExitCode
from oneoff.core.parsing import parse
from oneoff.runtime.application import find_project, load_application

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/howto/run-a-batch-on-many-workers.md"
RETRIED = {
    ExitCode.OK,
    ExitCode.FINDINGS,
    ExitCode.UNAVAILABLE,
    ExitCode.TEMPORARY,
    ExitCode.INTERRUPTED,
    ExitCode.TERMINATED,
}


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


def test_the_job_fails_at_exit_codes_that_a_retry_would_not_fix(spec: Any) -> None:
    """Evicted pods are ignored, and other failed pods are replaced."""
    ignored, failing = spec["podFailurePolicy"]["rules"]

    assert "Never" == spec["template"]["spec"]["restartPolicy"]
    assert ("Ignore", "FailJob") == (ignored["action"], failing["action"])
    assert sorted(set(ExitCode) - RETRIED) == failing["onExitCodes"]["values"]
