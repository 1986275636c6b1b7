"""What can't be requested; tests/commands/test_approval.py requests approvals."""

from __future__ import annotations

from pathlib import Path

import pytest

from oneoff.testing import Manage
from tests.support.backups import migrated, names_in
from tests.support.database import query
from tests.support.on_sqlite import ON_SQLITE
from tests.support.shop import Shop

ASK = "approval request --reason x"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("approval request -- user promote ada admin", "--reason is missing"),
        (f"{ASK} -- approval list", "approval list can't be approved"),
        (f"{ASK} -- system info", "system info needs no approval"),
        (f"{ASK} -- migrate --check", "db migrate needs no approval"),
        (f"{ASK} -- db reset --break-glass y", "leave out --break-glass of db reset"),
        (f"{ASK} --expires 900d -- user promote ada admin", "--expires 900d is not between"),
        (
            f"{ASK} -- data import users - --format csv",
            "what comes from standard input can't be approved",
        ),
        (f"{ASK} -- shell --write -c api_key=hunter22", "--code looks like a secret"),
        (f"{ASK} -- user promote ada", "role is missing"),
        ("user promote ada admin --approval 01234 --dry-run", "--approval and --dry-run can't"),
        ("migrate --check --approval 01234", "--approval has no effect"),
    ],
)
@ON_SQLITE
async def test_what_can_not_be_approved_is_a_usage_error(
    manage: Manage, manage_environ: dict[str, str], line: str, problem: str
) -> None:
    """And nothing is stored."""
    finished = await manage(line)

    assert 2 == finished.exit_code, finished.stdout
    assert problem in finished.stderr.replace("ROLE", "role"), finished.stderr
    assert [] == query(manage_environ["DATABASE_URL"], "SELECT id FROM oneoff_approvals")


@ON_SQLITE
async def test_a_preview_that_fails_is_not_requested(
    manage: Manage, manage_environ: dict[str, str]
) -> None:
    """The error is that of the preview."""
    finished = await manage(f"{ASK} -- user promote nobody admin")

    assert 1 == finished.exit_code
    assert "nobody" in finished.stderr
    assert [] == query(manage_environ["DATABASE_URL"], "SELECT id FROM oneoff_approvals")


@ON_SQLITE
async def test_an_unknown_approval_is_named(manage: Manage) -> None:
    """With the list as advice."""
    finished = await manage("user promote ada admin --approval 0123456789")

    assert 1 == finished.exit_code
    assert "error[unknown-approval]: there is no approval '0123456789'" in finished.stderr


async def test_nothing_can_be_approved_for_an_unknown_version_of_the_code(
    sqlite_shop: Shop,
) -> None:
    """Any other unknown version would use the approval."""
    await migrated(sqlite_shop)

    finished = await sqlite_shop.manage(f"{ASK} -- migrate")

    assert 2 == finished.exit_code, finished.stdout
    assert "one version of the code, which is unknown here: set CODE_VERSION" in finished.stderr
    assert [] == await sqlite_shop.query("SELECT id FROM oneoff_approvals")


@ON_SQLITE
async def test_the_code_of_an_agent_runs_only_after_a_person_has_read_it(
    manage: Manage, tmp_path: Path
) -> None:
    """The request does not run it, as a preview would; nor does a dry run."""
    agent = {"CLAUDECODE": "1", "ONEOFF_AGENTS": "refuse"}
    words = ["shell", "-c", f"open({str(tmp_path / 'written')!r}, 'w').close()"]

    preview = await manage([*words, "--dry-run"], environ=agent)
    asked = await manage([*ASK.split(), "--quiet", "--", *words], environ=agent)
    approval = asked.stdout.strip()
    before = "written" in names_in(tmp_path)
    person = {"OPERATOR": "bob"}
    approved = await manage(f"approval approve {approval}", environ=person)
    done = await manage([*words, "--approval", approval], environ=agent)

    assert [77, 0, 0] == [preview.exit_code, asked.exit_code, approved.exit_code], asked.stderr
    assert 0 == done.exit_code, done.stderr
    assert (False, True) == (before, "written" in names_in(tmp_path))
