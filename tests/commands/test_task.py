"""`task list`, `task show` and `task docs`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from app import apikeys
from tests.support.admin_tasks import LIVE, STATED, make_backup, set_languages
from tests.support.keys import ACCOUNT, DAY, listed, make_key
from tests.support.on_sqlite import ON_SQLITE
from tests.support.tally_project import execute

if TYPE_CHECKING:
    from pathlib import Path

    from oneoff.testing import Manage
    from tests.support.fixture_types import MakeUser

FILL = f"data transform fill-locale --confirm {STATED}"
TEMPLATE = {
    "Task": ["category", "owner", "author", "created", "invoked by", "declared in"],
    "Purpose": [],
    "Scope": ["services", "tables", "estimated rows", "environments"],
    "Approval": ["reviewer", "when", "authorization reference"],
    "Exact command": ["preview", "command", "policy"],
    "Runtime environment": [
        "image",
        "environment variables",
        "rights",
        "expected duration",
        "resources",
    ],
    "Pre-execution checks": [
        "backup-completed",
        "staging-run-successful",
        "on-call-notified",
    ],
    "Execution log": ["runs"],
    "Rollback": ["rollback", "rollback task", "rollback verification"],
    "Post-execution audit": ["verification", "afterwards", "record"],
}
"""The sections of the page of an admin task, with their fields."""
LOG = {"when", "who", "exit_code", "output", "rows"}
"""The fields of the execution log."""


async def state(manage: Manage, task_id: str = "ADM-002", **environ: str) -> str:
    """Return the state of a task."""
    found = await manage("task list --json", environ=LIVE | environ)
    return next(str(row["state"]) for row in found.json["data"] if row["id"] == task_id)


@pytest.fixture
async def url(
    manage: Manage, manage_environ: dict[str, str], make_user: MakeUser, tmp_path: Path
) -> str:
    """Return the URL of a database with a user whose language is stored, and with a backup."""
    await make_user("ada")
    set_languages(manage_environ["DATABASE_URL"])
    await make_backup(manage, tmp_path)
    return manage_environ["DATABASE_URL"]


async def test_the_state_of_a_task_follows_from_the_record(manage: Manage, url: str) -> None:
    """A dry run, a refused run and the run of another task don't change it."""
    seen = [await state(manage)]
    for line in (
        "data transform fill-locale --dry-run",
        "data transform fill-locale --confirm",
        "data transform fill-locale --revert --waive on-call-notified=ada --confirm",
        FILL,
        "data transform fill-locale --revert --waive on-call-notified=ada --confirm",
        FILL,
    ):
        await manage(line, environ=LIVE)
        seen.append(await state(manage))

    assert ["draft"] * 4 + ["executed", "reverted", "executed"] == seen
    assert "reverted" == await state(manage, "ADM-002-revert")


async def test_a_task_with_an_approval_that_can_start_it_is_approved(
    manage: Manage, url: str
) -> None:
    """Until it was run, or as long as the code and the record of the approval are the same."""
    line = f"data transform fill-locale {STATED}"
    asked = await manage(
        f"approval request --reason now --json -- {line}", environ=LIVE | {"CODE_VERSION": "v1"}
    )
    approval = asked.json["data"]["id"]
    seen = [await state(manage, CODE_VERSION="v1")]
    await manage(f"approval approve {approval}", environ=LIVE | {"OPERATOR": "grace"})
    seen += [await state(manage, CODE_VERSION="v1"), await state(manage, CODE_VERSION="v2")]
    seen.append(await state(manage, "ADM-002-revert", CODE_VERSION="v1"))
    shown = await manage("task show ADM-002 --json", environ=LIVE | {"CODE_VERSION": "v1"})
    seen.append(shown.json["data"]["state"])
    execute(url, "UPDATE oneoff_approvals SET reason = 'forged'")
    seen.append(await state(manage, CODE_VERSION="v1"))
    execute(url, "UPDATE oneoff_approvals SET reason = 'now'")
    used = await manage(f"{line} --approval {approval}", environ=LIVE | {"CODE_VERSION": "v1"})
    seen.append(await state(manage, CODE_VERSION="v1"))

    assert 0 == used.exit_code, used.stderr
    assert ["draft", "approved", "draft", "draft", "approved", "draft", "executed"] == seen


async def test_a_task_is_shown_with_its_runs(manage: Manage, url: str) -> None:
    """Newest first, with their tickets and waivers; refused ones too."""
    await manage("data transform fill-locale --confirm", environ=LIVE)
    await manage(f"{FILL} --ticket OPS-7", environ=LIVE)

    shown = await manage("task show adm-002 --json", environ=LIVE)

    facts = shown.json["data"]
    assert ("ADM-002", "executed") == (facts["id"], facts["state"])
    assert "a second developer of the team, in the ticket" == facts["reviewer"]
    assert ("ADM-002-revert", "backup-completed") == (
        facts["rollback_task"],
        facts["checks"][0]["check"],
    )
    done, refused = facts["runs"]
    assert set(done) > LOG
    assert ("tester", 0, 1, "changed 1 row", "OPS-7") == (
        done["who"],
        done["exit_code"],
        done["rows"],
        done["output"],
        done["ticket"],
    )
    assert "stated on-call-notified: grace, #operations" in done["reason"]
    assert (77, "refused") == (refused["exit_code"], refused["status"])


@ON_SQLITE
async def test_an_unknown_task_gets_a_suggestion(manage: Manage) -> None:
    """The exit code is 2."""
    refused = await manage("task show ADM-02")

    assert 2 == refused.exit_code
    assert "error[unknown-admin-task]: there is no admin task 'ADM-02'; did you mean ADM-0" in (
        refused.stderr
    )


@ON_SQLITE
async def test_tasks_are_listed_by_category(manage: Manage) -> None:
    """In the order of their numbers."""
    found = await manage("task list --category data-fix")

    assert re.fullmatch(
        r"id +category +state +executed +command\n"
        r"ADM-002 +data-fix +draft +- +data transform fill-locale --confirm\n"
        r"ADM-002-revert +data-fix +draft +- +data transform fill-locale --revert --confirm\n"
        r"2 of 13 admin tasks\n",
        found.stdout,
    )


@ON_SQLITE
async def test_a_page_has_every_field_of_the_template(manage: Manage, tmp_path: Path) -> None:
    """Each section, and each field in it."""
    await manage(f"task docs -o {tmp_path}/tasks")

    page = (tmp_path / "tasks/ADM-002.md").read_text(encoding="utf-8")

    assert page.startswith("# ADM-002: Fill users.locale from the stored Accept-Language\n")
    sections = dict(re.findall(r"^## (.+)\n\n((?:(?!## ).*\n)*)", page, re.MULTILINE))
    assert TEMPLATE == {
        heading: re.findall(r"^\| (?!Field|---)(.+?) \| .+ \|$", text, re.MULTILINE)
        for heading, text in sections.items()
    }
    assert "| command | `python manage.py data transform fill-locale --confirm` |" in page
    assert "| rollback verification | no-locale-left: Check that no user has a locale. |" in page


@ON_SQLITE
async def test_the_pages_depend_only_on_the_declarations(
    manage: Manage, url: str, tmp_path: Path
) -> None:
    """So CI can check them; a stale page, a missing one and one too many are found."""
    line = f"task docs -o {tmp_path}/tasks"
    missing = await manage(f"{line} --check")
    planned = await manage(f"{line} --dry-run")
    nothing = (tmp_path / "tasks").exists()
    await manage(line)
    await manage(FILL, environ=LIVE)
    same = await manage(f"{line} --check", environ=LIVE)

    assert [3, 0, False, 0] == [missing.exit_code, planned.exit_code, nothing, same.exit_code]
    page, extra = (tmp_path / "tasks" / name for name in ("ADM-002.md", "ADM-099.md"))
    extra.write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "tasks/ADM-098.md").write_text("# Written by hand\n", encoding="utf-8")
    page.write_text("old", encoding="utf-8")
    stale = await manage(f"{line} --check --json")
    wrote = await manage(line)

    assert 3 == stale.exit_code
    assert ["ADM-002.md", "ADM-099.md"] == [
        row["file"].rpartition("/")[2] for row in stale.json["data"]
    ]
    assert (0, False) == (wrote.exit_code, extra.exists())
    assert (tmp_path / "tasks/ADM-098.md").exists()


@ON_SQLITE
async def test_the_pages_of_the_reference_project_are_up_to_date(manage: Manage) -> None:
    """After a change of a task: python manage.py task docs."""
    checked = await manage("task docs --check")

    assert 0 == checked.exit_code, checked.stderr


async def test_the_rotation_of_a_key_keeps_its_grace_window(
    manage: Manage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ADM-003: the old key works on for that time, and a longer time is rolled back."""
    await manage(ACCOUNT)
    await make_key(manage)

    done = await manage("apikey rotate 1 --grace 24h --confirm")
    old, new = await listed(manage)
    rotate = apikeys.rotate
    monkeypatch.setattr(
        apikeys, "rotate", lambda *args, **given: rotate(*args, **{**given, "grace": 2 * DAY})
    )
    wrong = await manage("apikey rotate 2 --grace 24h --confirm")

    assert (0, "grace", "active") == (done.exit_code, old["state"], new["state"]), done.stderr
    assert "executed" == await state(manage, "ADM-003")
    assert (1, [old, new]) == (wrong.exit_code, await listed(manage))
    assert "error[verification-failed]: ADM-003 is not right: key 2 works longer than 1d\n" in (
        wrong.stderr
    )
