"""`system exit-codes`: the table, and the policy of a Kubernetes Job that is made from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped] # its stubs are no dependency

from oneoff.core.errors import ExitCode
from tests.support.on_sqlite import ON_SQLITE

if TYPE_CHECKING:
    from oneoff.testing import Manage

DOWN = {"DATABASE_URL": "postgres://127.0.0.1:1/shop"}
REPLACED = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}


def rule(action: str, *codes: int) -> dict[str, Any]:
    """Return a rule of a policy."""
    return {"action": action, "onExitCodes": {"operator": "In", "values": list(codes)}}


@ON_SQLITE
async def test_the_table_has_every_code(manage: Manage) -> None:
    """No database is needed, and success is no matter of a retry."""
    outcome = await manage("system exit-codes --json", environ=DOWN)

    rows = outcome.json["data"]
    assert 0 == outcome.exit_code
    assert [int(code) for code in ExitCode] == [row["code"] for row in rows]
    assert [0] == [row["code"] for row in rows if row["retry"] is None]
    assert [69, 75, 130, 143] == [row["code"] for row in rows if row["retry"]]


@ON_SQLITE
async def test_the_policy_fails_the_job_where_a_retry_cannot_help(manage: Manage) -> None:
    """Evicted pods are replaced first, whatever their exit code is."""
    outcome = await manage("system exit-codes --format pod-failure-policy", environ=DOWN)

    rules = yaml.safe_load(outcome.stdout)["podFailurePolicy"]["rules"]
    assert [REPLACED, rule("FailJob", 1, 2, 3, 65, 77, 78)] == rules


@ON_SQLITE
async def test_in_an_indexed_job_an_error_of_one_shard_fails_its_index(manage: Manage) -> None:
    """The other shards go on. What is wrong for all of them fails the Job."""
    outcome = await manage("system exit-codes --format indexed-pod-failure-policy", environ=DOWN)

    rules = yaml.safe_load(outcome.stdout)["podFailurePolicy"]["rules"]
    assert [REPLACED, rule("FailJob", 2, 77, 78), rule("FailIndex", 1, 3, 65)] == rules
