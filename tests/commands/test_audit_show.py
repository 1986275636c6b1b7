"""`audit show`: one run, by its id or the beginning of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from oneoff.testing import Finished, Manage

LINE = "user create ada ada@example.com --generate-password --reason 'first admin' --ticket OPS-1"


def run_id(finished: Finished) -> str:
    """Return the id of the run."""
    assert finished.outcome
    return finished.outcome.run_id


async def test_it_shows_who_what_why_and_the_result(manage: Manage) -> None:
    """The entire row, with the command line as it was typed."""
    created = await manage(LINE)

    shown = (await manage(f"audit show {run_id(created)} --json")).json["data"]

    assert {
        "id": run_id(created),
        "command": "user create",
        "access": "write",
        "status": "succeeded",
        "exit_code": 0,
        "rows": 1,
        "operator": "tester",
        "operator_source": "setting",
        "reason": "first admin",
        "ticket": "OPS-1",
        "environment": "test",
        "message": "created ada (user)",
    }.items() <= shown.items()
    assert ["user", "create", "ada", "ada@example.com"] == shown["argv"][:4]


async def test_the_beginning_of_an_id_is_enough(manage: Manage) -> None:
    """If no other id has the same beginning."""
    created = await manage(LINE)

    shown = await manage(f"audit show {run_id(created)[:-1]}")

    assert run_id(created) == shown.result.data["id"]


async def test_an_ambiguous_beginning_names_the_runs(manage: Manage) -> None:
    """The operator can then choose one."""
    first, second = await manage("user list"), await manage("user list")

    shown = await manage("audit show 2")

    assert 2 == shown.exit_code
    assert "several runs match '2': " in shown.stderr
    assert run_id(first) in shown.stderr
    assert run_id(second) in shown.stderr


async def test_the_error_for_an_unknown_id_suggests_the_most_similar_one(manage: Manage) -> None:
    """One wrong digit at the end."""
    created = run_id(await manage(LINE))
    wrong = created[:-1] + ("0" if created[-1] != "0" else "1")

    shown = await manage(f"audit show {wrong}")

    assert 1 == shown.exit_code
    assert f"there is no run '{wrong}'; did you mean {created}?\n" in shown.stderr


async def test_a_wildcard_of_sql_matches_no_run(manage: Manage) -> None:
    """The id is matched literally."""
    await manage("user list")

    assert 1 == (await manage("audit show %")).exit_code


async def test_last_is_the_newest_run_of_the_operator(manage: Manage) -> None:
    """Neither the run of somebody else, nor the one that showed the record."""
    created = await manage(LINE)
    await manage("user list", environ={"OPERATOR": "grace"})
    await manage("audit list")

    first, again = await manage("audit show --last --json"), await manage("audit show --last")

    assert run_id(created) == first.json["data"]["id"]
    assert run_id(created) == again.result.data["id"]


async def test_an_operator_without_a_run_has_no_last_one(manage: Manage) -> None:
    """The error names the operator."""
    shown = await manage("audit show --last", environ={"OPERATOR": "linus"})

    assert 1 == shown.exit_code
    assert "error[unknown-run]: no run of linus is recorded\n" in shown.stderr


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("audit show", "RUN_ID is missing"),
        ("audit show 2 --last", "RUN_ID and --last can't be used together"),
    ],
)
async def test_one_run_is_named_in_one_way(manage: Manage, line: str, problem: str) -> None:
    """It is a usage error, and says what to do."""
    shown = await manage(line)

    assert 2 == shown.exit_code
    assert f"error[usage]: {problem}\n  try:  python manage.py audit show --last" in shown.stderr
