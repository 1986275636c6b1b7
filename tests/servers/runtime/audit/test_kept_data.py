"""The data of a result is kept with its run, in the event that closes it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from oneoff import Access, BaseCommand, DryRun, Project, Result
from oneoff.core.options import GlobalOptions
from oneoff.core.outcome import Call, Outcome
from oneoff.runtime.audit.kept_data import MOST_BYTES, data_to_keep
from oneoff.utils.redaction import Redactor

if TYPE_CHECKING:
    from oneoff.testing import Manage

CREATE = "user create ada ada@example.com --generate-password"


class Writes(BaseCommand):
    """Change something."""

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK

    async def handle(self) -> Result:
        """Do nothing."""
        return Result.unchanged("")


def kept(data: Any, project: Project | None = None) -> dict[str, Any]:
    """Return what is kept of the data of a run that writes."""
    call = Call("write", Writes(), GlobalOptions(), [], "")
    outcome = Outcome(command="write", result=Result.changed("", data=data))
    return data_to_keep(call, outcome, project or Project("shop"), Redactor())


async def test_audit_show_has_the_data_of_a_run_without_personal_data(manage: Manage) -> None:
    """The values of columns that the models mark, by their names."""
    await manage(CREATE)
    promoted = await manage("user promote ada admin --confirm")
    assert promoted.outcome

    shown = (await manage(f"audit show {promoted.outcome.run_id} --json")).json["data"]

    expected = {**promoted.result.data, "email": "***"}
    assert json.loads(json.dumps(expected, default=str)).keys() == shown["data"].keys()
    assert ("***", "admin") == (shown["data"]["email"], shown["data"]["role"])
    assert "data_cut" not in shown
    assert 0 == (await manage("audit verify")).exit_code


async def test_a_run_that_reads_keeps_no_data(manage: Manage) -> None:
    """Its data is rows that the operator has read."""
    await manage(CREATE)
    listed = await manage("user list")
    assert listed.outcome

    shown = (await manage(f"audit show {listed.outcome.run_id} --json")).json["data"]

    assert listed.result.data
    assert "data" not in shown


async def test_a_dry_run_keeps_its_plan(manage: Manage) -> None:
    """What it would have done."""
    await manage(CREATE)
    previewed = await manage("user promote ada admin --dry-run")
    assert previewed.outcome

    shown = (await manage(f"audit show {previewed.outcome.run_id} --json")).json["data"]

    assert "admin" == shown["data"]["role"]


def test_secrets_are_masked() -> None:
    """By their names, and by their forms."""
    data = {"api_token": "s3cret-one", "url": "postgres://shop:s3cret@db/shop"}

    assert {"data": {"api_token": "***", "url": "postgres://shop:***@db/shop"}} == kept(data)


@pytest.mark.parametrize(
    ("data", "cut"),
    [
        ([{"n": n} for n in range(101)], "100 of 101 rows"),
        ([{"n": "x" * 40_000}, {"n": "x" * 40_000}], "1 of 2 rows"),
        ({"a": "x" * 40_000, "b": "x" * 40_000, "c": 1}, "1 of 3 values"),
        ("é" * 40_000, "32,768 of 40,000 characters"),
    ],
)
def test_data_is_cut_and_says_so(data: Any, cut: str) -> None:
    """At 64 KiB, and a list at 100 rows."""
    found = kept(data)

    assert cut == found["data_cut"]
    assert len(json.dumps(found["data"], ensure_ascii=False).encode()) <= MOST_BYTES + 2


def test_data_that_can_not_be_kept_does_not_stop_the_run() -> None:
    """The work is done, and only its record is less complete."""
    circle: dict[str, Any] = {}
    circle["self"] = circle
    broken = Project("shop", metadata="tests.no_such_module:metadata")

    assert {"data_cut": "nothing was kept: ValueError"} == kept(circle)
    assert {"data_cut": "nothing was kept: ConfigurationError"} == kept({"a": 1}, broken)
