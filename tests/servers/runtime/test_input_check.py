"""What can be known to be wrong is refused before the operator is asked to confirm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from commands.user.promote import Promote
from oneoff import BaseCommand, Project, Result
from oneoff.core.run import Run
from oneoff.testing import Manage
from tests.support.imports import write_csv

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from sqlalchemy.ext.asyncio import AsyncSession

WRONG = [
    ("data transform nope", 2, "there is no transform 'nope'"),
    ("data cleanup --only nope", 2, "there is no retention rule 'nope'"),
    ("data cleanup --max-rows 0", 2, "--max-rows 0 is less than 1"),
    ("data cleanup --max-time 0s", 2, "--max-time 0s is not more than 0"),
    ("data transform fill-locale --max-rows 0", 2, "--max-rows 0 is less than 1"),
    ("db seed nope", 2, "there is no seed 'nope'"),
    ("batch cancel nope", 1, "there is no batch 'nope'"),
    ("data import nope FILE", 1, "there is no table 'nope'"),
    ("data import users FILE --format sql", 2, "--format 'sql' is not one of csv, jsonl, json"),
    ("data import users MISSING", 65, "can't be read: No such file or directory"),
    ("data import users FILE --rejects FILE", 1, "already exists"),
    ("user promote nope admin", 1, "nope"),
    ("user deactivate nope", 1, "nope"),
    ("apikey revoke 99", 1, "99"),
    ("service-account deactivate nope", 1, "nope"),
]


@pytest.mark.parametrize(("line", "exit_code", "problem"), WRONG)
@pytest.mark.parametrize("answers", [None, ["n"]])
async def test_a_wrong_input_is_refused_before_the_prompt(
    manage: Manage,
    tmp_path: Path,
    *,
    line: str,
    exit_code: int,
    problem: str,
    answers: Sequence[str] | None,
) -> None:
    """Also without a terminal, where the run would be refused because it is not confirmed."""
    file = str(write_csv(tmp_path / "a.csv", "1", header="id"))
    words = [{"FILE": file, "MISSING": f"{file}.csv"}.get(word, word) for word in line.split()]

    refused = await manage(words, answers=answers)

    assert exit_code == refused.exit_code, refused.stderr
    assert problem in refused.stderr
    assert "Continue?" not in refused.stderr
    assert "confirm" not in refused.stderr


@pytest.mark.parametrize(("line", "exit_code", "problem"), WRONG)
async def test_a_confirmed_run_finds_the_same_problem(
    manage: Manage, tmp_path: Path, line: str, exit_code: int, problem: str
) -> None:
    """In `handle`, which checks what may have changed since the check."""
    file = str(write_csv(tmp_path / "a.csv", "1", header="id"))
    words = [{"FILE": file, "MISSING": f"{file}.csv"}.get(word, word) for word in line.split()]

    refused = await manage([*words, "--confirm"])

    assert exit_code == refused.exit_code, refused.stderr
    assert problem in refused.stderr


@pytest.mark.parametrize(
    ("option", "checked"), [("", True), ("--confirm", False), ("--dry-run", False)]
)
async def test_a_check_opens_a_session_only_if_the_operator_is_asked(
    manage: Manage, monkeypatch: pytest.MonkeyPatch, *, option: str, checked: bool
) -> None:
    """Otherwise each run would need one more connection."""
    calls = []

    async def check_inputs(self: Promote, session: AsyncSession) -> None:
        calls.append(session)

    monkeypatch.setattr(Promote, "check_inputs", check_inputs)

    await manage(f"user promote ada admin {option}")

    assert checked == bool(calls)


async def test_the_session_of_a_check_is_read_only(
    manage: Manage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is not confirmed yet."""

    async def check_inputs(self: Promote, session: AsyncSession) -> None:
        await session.execute(text("DELETE FROM service_accounts"))

    monkeypatch.setattr(Promote, "check_inputs", check_inputs)

    refused = await manage("user promote ada admin")

    assert 1 == refused.exit_code
    assert "error[read-only]" in refused.stderr


async def test_a_check_sees_the_environment(
    manage: Manage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is already that of the database."""
    seen = []

    async def check_inputs(self: Promote, run: Run, project: Project) -> None:
        seen.append((run.environment, project.name))

    monkeypatch.setattr(Promote, "check_inputs", check_inputs)

    await manage("user promote ada admin")

    assert [("test", "shop")] == seen


def test_a_check_that_asks_for_another_resource_does_not_load() -> None:
    """Nothing that must be opened exists before the confirmation."""
    with pytest.raises(TypeError, match="check_inputs asks for cache; it gets config, project"):

        class Greedy(BaseCommand):
            """Ask for the cache."""

            async def check_inputs(self, cache: Redis) -> None:
                await cache.ping()

            async def handle(self) -> Result:
                return Result.unchanged("done")


def test_a_check_that_is_no_coroutine_does_not_load() -> None:
    """It could not be awaited."""
    with pytest.raises(TypeError, match="check_inputs is not declared by async def"):

        class Plain(BaseCommand):
            """Check without `async`."""

            def check_inputs(self) -> None:
                raise ValueError

            async def handle(self) -> Result:
                return Result.unchanged("done")
