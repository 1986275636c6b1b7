"""`user promote`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from oneoff.testing import Manage
    from tests.support.fixture_types import MakeUser


async def roles(manage: Manage) -> dict[str, str]:
    """Return the role of each user."""
    outcome = await manage("user list --json")
    return {user["username"]: user["role"] for user in outcome.json["data"]}


async def demote(manage: Manage, who: str) -> int:
    """Demote a user in a separate process, and return its exit code."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "manage.py",
        *("user", "promote", who, "user", "--confirm"),
        cwd=manage.root,
        env={**os.environ, **manage.environ},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await process.wait()


async def test_promoting_twice_writes_once(manage: Manage, make_user: MakeUser) -> None:
    """The second run succeeds and writes nothing."""
    await make_user("ada")

    first = await manage("user promote ada admin --confirm")
    again = await manage("user promote ada admin --confirm")

    assert (0, 1) == (first.exit_code, first.rows)
    assert "ada is now admin (was user)\n" == first.stdout
    assert (0, 0) == (again.exit_code, again.rows)
    assert "ada is already admin\n" == again.stdout


async def test_a_dry_run_counts_and_changes_nothing(manage: Manage, make_user: MakeUser) -> None:
    """It reports the same rows as the run that commits."""
    await make_user("ada")

    preview = await manage("user promote ada admin --dry-run --json")
    before = await roles(manage)
    real = await manage("user promote ada admin --confirm --json")

    assert ({"ada": "user"}, True) == (before, preview.json["dry_run"])
    assert {"inserted": 0, "updated": 1, "deleted": 0} == preview.json["tables"]["users"]
    assert preview.json["tables"] == real.json["tables"]


async def test_without_confirmation_nothing_is_changed(manage: Manage, make_user: MakeUser) -> None:
    """The exit code is 77, and the error suggests --dry-run and --confirm."""
    await make_user("ada")

    outcome = await manage("user promote ada admin")

    assert (77, {"ada": "user"}) == (outcome.exit_code, await roles(manage))
    assert "error[confirmation-required]: user promote was not confirmed\n" in outcome.stderr
    assert "  try:  python manage.py user promote ada admin --dry-run\n" in outcome.stderr
    assert "  try:  python manage.py user promote ada admin --confirm\n" in outcome.stderr


@pytest.mark.parametrize(("answer", "exit_code", "role"), [("y", 0, "admin"), ("", 77, "user")])
async def test_on_a_terminal_the_operator_is_asked(
    manage: Manage, make_user: MakeUser, answer: str, exit_code: int, role: str
) -> None:
    """The question shows the consequence; no answer means no."""
    await make_user("ada")

    outcome = await manage("user promote ada admin", answers=[answer])

    assert (exit_code, {"ada": role}) == (outcome.exit_code, await roles(manage))
    assert "makes ada admin" in outcome.stderr


async def test_the_last_active_admin_cannot_be_demoted(manage: Manage, make_user: MakeUser) -> None:
    """A dry run is refused too."""
    await make_user("ada", role="admin")

    refused = await manage("user promote ada user --confirm")
    preview = await manage("user promote ada user --dry-run")

    assert (77, 77) == (refused.exit_code, preview.exit_code)
    assert (
        "error[last-admin]: ada is the last active admin\n"
        "  why:  without an active admin, no one could manage users\n"
        "  try:  make another user admin first: "
        "python manage.py user promote OTHER admin --confirm\n"
    ) in refused.stderr


async def test_two_concurrent_processes_leave_one_admin(
    manage: Manage, make_user: MakeUser
) -> None:
    """One of them is refused, in any order."""
    await make_user("ada", role="admin")
    await make_user("grace", role="admin")

    codes = await asyncio.gather(*(demote(manage, who) for who in ("ada", "grace")))

    assert [0, 77] == sorted(codes)
    assert ["admin", "user"] == sorted((await roles(manage)).values())


async def test_an_unknown_role_is_a_usage_error(manage: Manage) -> None:
    """The error lists the roles."""
    outcome = await manage("user promote ada king --confirm")

    assert 2 == outcome.exit_code
    assert "ROLE 'king' is not one of user, moderator, admin" in outcome.stderr


@pytest.mark.parametrize("flag", ["--confirm", "--dry-run"])
async def test_a_missing_sqlite_file_is_an_error_and_is_not_created(
    manage: Manage, tmp_path: Path, flag: str
) -> None:
    """Only `migrate` creates the file."""
    path = tmp_path / "missing.sqlite3"

    refused = await manage(
        f"user promote ada admin {flag}", environ={"DATABASE_URL": f"sqlite:///{path}"}
    )

    assert (78, False) == (refused.exit_code, path.exists()), refused.stderr
