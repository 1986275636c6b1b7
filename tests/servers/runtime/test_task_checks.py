"""The checks of an admin task before its work, and its verification before the commit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from app import admin_tasks
from commands.apikey.rotate import Rotate
from oneoff import CheckFailed
from tests.support.admin_tasks import LIVE, STATED, locales, make_backup, set_languages
from tests.support.database import query
from tests.support.keys import ACCOUNT, make_key
from tests.support.on_sqlite import ON_SQLITE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff import Result
    from oneoff.testing import Manage
    from tests.support.fixture_types import MakeUser

FILL = "data transform fill-locale --confirm"
RUNS = "SELECT status, reason FROM oneoff_runs WHERE command = 'data transform' ORDER BY id"


@pytest.fixture
async def url(manage_environ: dict[str, str], make_user: MakeUser) -> str:
    """Return the URL of a database with a user whose language is stored."""
    await make_user("ada")
    set_languages(manage_environ["DATABASE_URL"])
    return manage_environ["DATABASE_URL"]


@pytest.fixture
async def declare(
    manage: Manage, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Awaitable[None]]:
    """Return a function that changes the task of `apikey rotate`; there is one key."""
    await manage(ACCOUNT)
    await make_key(manage)

    async def change(**fields: Any) -> None:
        assert Rotate.task is not None
        monkeypatch.setattr(Rotate, "task", replace(Rotate.task, **fields))

    return change


def keys(url: str) -> int:
    """Return the number of keys."""
    return int(query(url, "SELECT count(*) FROM api_keys")[0][0])


async def wrong(session: AsyncSession, result: Result) -> None:
    """Find a problem."""
    assert result.rows == await session.scalar(text("SELECT count(*) FROM api_keys"))
    raise CheckFailed("the new key is not right", try_="python manage.py apikey list")


async def writes(session: AsyncSession) -> None:
    """Write, which a check must not do."""
    await session.execute(text("UPDATE api_keys SET name = 'changed'"))


async def test_a_task_does_not_run_while_its_checks_fail(manage: Manage, url: str) -> None:
    """The refusal names each check, what to do, and how to run it nevertheless."""
    refused = await manage(FILL, environ=LIVE)

    assert (77, [None]) == (refused.exit_code, locales(url))
    assert 1 == (refused.stdout + refused.stderr).count("no backup of this database ")
    assert (
        "error[check-failed]: ADM-002 may not run: backup-completed: no backup of this database "
        "was made in the last 1h; staging-run-successful: the runs of staging are not recorded "
        "here: state the id of that run; on-call-notified: oneoff can't know whom you have told: "
        "state who it was\n"
    ) in refused.stderr
    assert (
        "  try:  python manage.py db backup\n"
        "  try:  python manage.py data transform fill-locale --confirm "
        '--waive backup-completed="REASON" --waive staging-run-successful="REASON" '
        '--waive on-call-notified="REASON"\n'
    ) in refused.stderr
    assert [("refused", "")] == query(url, RUNS)


async def test_a_task_runs_if_its_checks_pass_or_are_waived(
    manage: Manage, url: str, tmp_path: Path
) -> None:
    """The record says that they were stated, after the reason of the run."""
    await make_backup(manage, tmp_path)

    done = await manage(f"{FILL} --reason 'new mails' {STATED}", environ=LIVE)

    assert (0, ["de"]) == (done.exit_code, locales(url)), done.stderr
    stated = (
        "stated staging-run-successful: staging run 20260131T120000-0123456789; "
        "stated on-call-notified: grace, #operations"
    )
    assert [("succeeded", f"new mails; {stated}")] == query(url, RUNS)
    assert "warning: stated, and not known to oneoff: on-call-notified: grace" in done.stderr


@ON_SQLITE
async def test_only_a_backup_that_can_be_restored_counts(
    manage: Manage, url: str, tmp_path: Path
) -> None:
    """Not one whose file was changed."""
    await make_backup(manage, tmp_path)
    file = tmp_path / "before.dump"
    file.chmod(0o600)
    file.write_bytes(b"lost")

    refused = await manage(f"{FILL} {STATED}", environ=LIVE)

    assert 77 == refused.exit_code
    assert (
        "backup-completed: no backup of this database was made in the last 1h: "
        f"{file} was changed since it was made\n"
    ) in refused.stderr


@ON_SQLITE
async def test_in_a_dry_run_checks_that_fail_are_warnings(manage: Manage, url: str) -> None:
    """The preview is what an operator shows to the approver before."""
    preview = await manage("data transform fill-locale --dry-run", environ=LIVE)

    assert (0, 1, [None]) == (preview.exit_code, preview.rows, locales(url))
    assert (
        "warning: the real run would be refused: backup-completed: no backup of this database was "
        "made in the last 1h\n"
    ) in preview.stderr


@ON_SQLITE
async def test_checks_apply_only_in_the_environments_of_the_task(manage: Manage, url: str) -> None:
    """Elsewhere a waiver has no effect, which is a warning."""
    done = await manage(f"{FILL} --waive on-call-notified=no")

    assert (0, ["de"]) == (done.exit_code, locales(url))
    assert "warning: --waive has no effect: no check applies in test\n" in done.stderr
    assert [("succeeded", "")] == query(url, RUNS)


@ON_SQLITE
@pytest.mark.parametrize(
    ("waiver", "problem"),
    [
        (
            "on-call-notifed=yes",
            (
                "--waive on-call-notifed: the task ADM-002 has no such check; it has "
                "backup-completed, staging-run-successful, on-call-notified"
            ),
        ),
        ("on-call-notified", "--waive 'on-call-notified' is not CHECK=REASON"),
        ("'on-call-notified= '", "--waive 'on-call-notified= ' is not CHECK=REASON"),
    ],
)
async def test_a_waiver_names_a_check_and_gives_a_reason(
    manage: Manage, url: str, waiver: str, problem: str
) -> None:
    """Otherwise nothing is run."""
    refused = await manage(f"{FILL} --waive {waiver}", environ=LIVE)

    assert (2, [None]) == (refused.exit_code, locales(url))
    assert problem in refused.stderr


@ON_SQLITE
async def test_a_command_outside_the_catalogue_has_no_waivers(manage: Manage) -> None:
    """The option would have no effect."""
    refused = await manage("user list --waive on-call-notified=grace")

    assert 2 == refused.exit_code
    assert "user list is not in the catalogue of admin tasks, so it has no --waive" in (
        refused.stderr
    )


@ON_SQLITE
async def test_a_check_that_does_not_exist_stops_the_run(
    manage: Manage, url: str, declare: Callable[..., Awaitable[None]]
) -> None:
    """`commands check` finds it before."""
    await declare(checks=("backup-done",))

    stopped = await manage("apikey rotate 1 --confirm")

    assert (78, 1) == (stopped.exit_code, keys(url))
    assert (
        "error[unknown-check]: the task ADM-003 declares the check 'backup-done', which does not "
        "exist"
    ) in stopped.stderr


async def test_a_maintenance_window_must_be_open(
    manage: Manage, url: str, declare: Callable[..., Awaitable[None]]
) -> None:
    """The built-in check passes from the start of the window to its end."""
    await declare(checks=("maintenance-window",))
    before = await manage("apikey rotate 1 --confirm")
    await manage("system maintenance on --confirm")
    during = await manage("apikey rotate 1 --confirm")
    await manage("system maintenance off --confirm")
    after = await manage("apikey rotate 2 --confirm")

    assert [77, 0, 77] == [before.exit_code, during.exit_code, after.exit_code]
    assert "maintenance-window: no maintenance window is open" in after.stderr


async def test_a_check_can_not_write(
    manage: Manage, url: str, declare: Callable[..., Awaitable[None]]
) -> None:
    """Its session is read-only, so the run stops."""
    await declare(checks=(writes,))

    stopped = await manage("apikey rotate 1 --confirm")

    assert (1, 1) == (stopped.exit_code, keys(url))
    assert "error[read-only]" in stopped.stderr


async def test_work_that_is_not_right_is_rolled_back(
    manage: Manage, url: str, declare: Callable[..., Awaitable[None]]
) -> None:
    """`verify` sees the work before the commit."""
    await declare(verify=wrong)

    failed = await manage("apikey rotate 1 --confirm")

    assert (1, 1) == (failed.exit_code, keys(url))
    assert (
        "error[verification-failed]: ADM-003 is not right: the new key is not right\n"
        "  why:  wrong (Find a problem) failed; its work was rolled back\n"
        "  try:  python manage.py apikey list\n"
    ) in failed.stderr
    assert [("failed",)] == query(
        url, "SELECT status FROM oneoff_runs WHERE command = 'apikey rotate'"
    )


async def test_in_a_dry_run_wrong_work_is_a_warning(
    manage: Manage, url: str, declare: Callable[..., Awaitable[None]]
) -> None:
    """The work is counted, and rolled back as in each dry run."""
    await declare(verify=wrong)

    preview = await manage("apikey rotate 1 --dry-run")

    assert (0, 2, 1) == (preview.exit_code, preview.rows, keys(url))
    assert (
        "warning: the real run would fail, because its work is not right: the new key is not right"
    ) in preview.stderr


@ON_SQLITE
async def test_a_plan_is_not_verified(manage: Manage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been done, so there is nothing to verify."""
    task = replace(admin_tasks.MAINTENANCE, environments=(), verify=window_is_open)
    monkeypatch.setattr(admin_tasks, "MAINTENANCE", task)

    planned = await manage("system maintenance on --dry-run")
    done = await manage("system maintenance on --confirm")

    assert (0, 0) == (planned.exit_code, done.exit_code)
    assert "the real run would fail" not in planned.stderr


async def window_is_open(session: AsyncSession) -> None:
    """Check that a maintenance window is open."""
    if not await session.scalar(text("SELECT count(*) FROM oneoff_maintenance")):
        raise CheckFailed("no window is open")


async def test_a_verification_does_not_change_the_work(
    manage: Manage, url: str, declare: Callable[..., Awaitable[None]]
) -> None:
    """What it writes is rolled back, and the work is committed."""
    await declare(verify=writes)

    done = await manage("apikey rotate 1 --confirm")

    assert (0, 2) == (done.exit_code, keys(url)), done.stderr
    assert [("",), ("",)] == query(url, "SELECT name FROM api_keys")


async def test_batches_are_verified_when_all_are_done(
    manage: Manage, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are committed, so the error says so and names the rollback."""
    from app.transforms import FillLocale

    assert FillLocale.task is not None
    monkeypatch.setattr(FillLocale, "task", replace(FillLocale.task, checks=(), verify=unequal))

    failed = await manage(FILL, environ=LIVE)

    assert (1, ["de"]) == (failed.exit_code, locales(url))
    assert (
        "error[verification-failed]: ADM-002 is not right: ada has the locale de\n"
        "  why:  unequal (Expect another language) failed; its work is saved\n"
        "  try:  python manage.py data transform fill-locale --revert\n"
    ) in failed.stderr


async def unequal(session: AsyncSession) -> None:
    """Expect another language."""
    found = await session.scalar(text("SELECT locale FROM users"))
    raise CheckFailed(f"ada has the locale {found}")


async def test_one_shard_is_not_verified(manage: Manage, url: str, tmp_path: Path) -> None:
    """The other shards may not be done."""
    await make_backup(manage, tmp_path)

    done = await manage(f"{FILL} --shard 2/2 {STATED}", environ=LIVE)

    assert (0, [None]) == (done.exit_code, locales(url)), done.stderr
    assert "warning: ADM-002 was not verified, because this run did only one shard of it" in (
        done.stderr
    )
