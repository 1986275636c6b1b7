"""Describe the exit codes, also as the `podFailurePolicy` of a Kubernetes Job."""

from __future__ import annotations

from typing import Any

from oneoff.core.errors import ExitCode

FINAL = [code for code in ExitCode if code and not code.retry]
"""The codes of runs that fail again if nothing else changes."""

_EVERY_POD = {ExitCode.USAGE, ExitCode.REFUSED, ExitCode.CONFIGURATION}
"""The codes with which the pods of all shards end, because they have the same command line."""


def table() -> list[dict[str, Any]]:
    """Return a row for each exit code."""
    return [
        {
            "code": int(code),
            "name": code.name,
            "means": code.meaning,
            "retry": code.retry if code else None,
        }
        for code in ExitCode
    ]


def pod_failure_policy(*, indexed: bool) -> str:
    """Return the policy as YAML, to be inserted into the `spec` of a Job.

    Args:
        indexed: Whether each pod of the Job works on its own shard. Then an error of one shard
            fails only its index, and the other shards are completed.
    """
    if not indexed:
        return _POLICY + _rule("FailJob", FINAL)
    stops_all = [code for code in FINAL if code in _EVERY_POD]
    stops_one = [code for code in FINAL if code not in _EVERY_POD]
    return _POLICY + _rule("FailJob", stops_all) + _rule("FailIndex", stops_one)


# A pod that was evicted is replaced, and is no failed attempt.
_POLICY = """\
podFailurePolicy:
  rules:
    - action: Ignore
      onPodConditions:
        - type: DisruptionTarget
"""


def _rule(action: str, codes: list[ExitCode]) -> str:
    return f"""\
    - action: {action}
      onExitCodes:
        operator: In
        values: {[int(code) for code in codes]}
"""
