"""`audit review`: a run with `--break-glass` owes a review by another operator."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from oneoff.testing import Manage
from tests.support.database import query
from tests.support.fixture_types import MakeUser
from tests.support.on_sqlite import ON_SQLITE

NOBODY = {"OPERATOR": "", "SUDO_USER": "", "GITHUB_ACTOR": "", "GITLAB_USER_LOGIN": ""}
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).date()


async def test_a_run_that_owes_a_review_stays_with_all_that_follow(
    manage: Manage, make_user: MakeUser, tmp_path: Path
) -> None:
    """After its review, by somebody else, it can be archived."""
    await make_user("ada")
    reset = ["db", "reset", "--break-glass", "outage"]
    (confirm,) = re.findall("--confirm=[^ \n]+", (await manage(reset)).stderr)
    assert 0 == (await manage([*reset, confirm])).exit_code
    line = f"audit archive --before {TOMORROW} --confirm --json -o {tmp_path}"

    first = await manage(f"{line}/1.jsonl")
    owed = await manage("audit review list --json")
    (run,) = [row["run_id"] for row in owed.json["data"]]
    own = await manage(f"audit review approve {run}")
    await manage(f"audit review approve {run} --reason agreed", environ={"OPERATOR": "grace"})
    second = await manage(f"{line}/2.jsonl")

    assert (77, "own-run") == (own.exit_code, own.stderr.split("[")[1].split("]")[0])
    assert run not in (tmp_path / "1.jsonl").read_text()
    assert run in (tmp_path / "2.jsonl").read_text()
    assert first.json["rows"] < second.json["rows"]
    assert [] == (await manage("audit review list --json")).json["data"]
    assert 0 == (await manage("audit verify")).exit_code


async def test_a_secret_in_the_reason_is_masked(manage: Manage, make_user: MakeUser) -> None:
    """The comment of a review is the reason of its run."""
    await make_user("ada")
    listed = await manage("audit list --command user --json")
    run = listed.json["data"][0]["run_id"]
    line = ["audit", "review", "flag", run, "--reason", "see postgresql://u:hunter2secret@h/db"]

    done = await manage(line, environ={"OPERATOR": "grace"})

    assert 0 == done.exit_code, done.stderr
    stored = repr(query(manage.environ["DATABASE_URL"], "SELECT event FROM oneoff_audit"))
    assert "see postgresql://" in stored
    assert "hunter2secret" not in stored
    shown = await manage(f"audit show {run} --json")
    assert ["flagged"] == [one["verdict"] for one in shown.json["data"]["reviews"]]


@ON_SQLITE
@pytest.mark.parametrize(
    ("environ", "code", "message"),
    [
        (NOBODY, "unknown-approver", "is known only as a user of this machine"),
        (NOBODY | {"DYNO": "run.1"}, "unknown-approver", "run.1 is known only as a dyno"),
        ({"OPERATOR": "grace", "CLAUDECODE": "1"}, "agent-refused", "claude-code"),
    ],
)
async def test_a_reviewer_must_be_a_second_person(
    manage: Manage, make_user: MakeUser, environ: dict[str, str], code: str, message: str
) -> None:
    """By the same rule as an approver. An agent is refused in each environment."""
    await make_user("ada")
    run = (await manage("audit list --json")).json["data"][0]["run_id"]
    place = {} if "CLAUDECODE" in environ else {"ENVIRONMENT": "production"}

    done = await manage(f"audit review approve {run}", environ=environ | place)

    assert 77 == done.exit_code, done.stdout
    assert f"error[{code}]" in done.stderr
    assert message in done.stderr
