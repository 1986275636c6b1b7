"""A second person approves a run, and only this run starts, once.

The database stores `test`, and the runs are in production because of their setting.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from oneoff.testing import Finished, Manage
from tests.support.approval_project import NAME, ROOT
from tests.support.database import dump, query
from tests.support.on_sqlite import ON_SQLITE

ADA, BOB, CAT = ({"OPERATOR": name, "ENVIRONMENT": "production"} for name in ("ada", "bob", "cat"))
APPROVAL_TABLES = ("oneoff_approvals", "oneoff_approvers", "oneoff_approval_uses", "oneoff_runs")
Request = Callable[..., Awaitable[str]]


@pytest.fixture
def url(manage_environ: dict[str, str]) -> str:
    """Return the URL of a database with three events."""
    url = manage_environ["DATABASE_URL"]
    add_events(url, 3)
    return url


def add_events(url: str, count: int) -> None:
    """Add events that `wipe old` deletes."""
    for _ in range(count):
        write(url, "INSERT INTO events (kind, at) VALUES ('old', '2020-01-01')")


def write(url: str, sql: str) -> None:
    """Run and commit a statement, without the framework."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(sql)
            connection.commit()
    else:
        query(url, sql)


def events(url: str) -> int:
    """Return how many events are left."""
    ((count,),) = query(url, "SELECT count(*) FROM events")
    return int(count)


@pytest.fixture
def run(url: str, manage_environ: dict[str, str]) -> Manage:
    """Run command lines of the project, as Ada in production."""
    return Manage(NAME, str(ROOT), {**manage_environ, **ADA, "CODE_VERSION": "v1"})


@pytest.fixture
def request_of(run: Manage) -> Request:
    """Return a function that requests an approval as Ada, lets Bob approve it, and returns it."""

    async def request(line: str, *, approve: bool = True, flags: str = "") -> str:
        asked = await run(f"approval request {flags} --reason 'ticket 7' --json -- {line}")
        assert 0 == asked.exit_code, asked.stderr
        approval = str(asked.json["data"]["id"])
        if approve:
            given = await run(f"approval approve {approval}", environ=BOB)
            assert 0 == given.exit_code, given.stderr
        return approval

    return request


def refused(finished: Finished, code: str, why: str) -> None:
    """Check that a run was refused for this reason."""
    error = finished.outcome.error if finished.outcome else None
    assert error is not None, finished.stdout
    assert (77, code) == (finished.exit_code, error.code), finished.stderr
    assert why in error.why, error.why


async def test_a_run_without_approval_names_the_preview_and_the_request(
    run: Manage, url: str
) -> None:
    """Both lines work; in a test environment, nobody has to approve."""
    error = await run("wipe old")
    assert error.outcome is not None
    assert error.outcome.error is not None
    preview, request = list(error.outcome.error.try_)
    before = events(url)

    previewed = await run(preview.removeprefix("python manage.py "))
    requested = await run(request.removeprefix("python manage.py "))
    tested = await run("wipe old", environ={"ENVIRONMENT": "test"})

    refused(error, "approval-required", "delete all events of a kind")
    assert "python manage.py wipe old --dry-run" == preview
    assert "python manage.py approval request --reason TEXT -- wipe old" == request
    assert (3, 0) == (before, events(url))
    assert [0, 0, 0] == [done.exit_code for done in (previewed, requested, tested)]


async def test_an_approved_run_starts_once(run: Manage, url: str, request_of: Request) -> None:
    """Without a question: an approved run must not wait for an answer."""
    approval = await request_of("wipe old")

    done = await run(f"wipe old --approval {approval.rpartition('-')[2]}", answers=[])
    add_events(url, 3)
    again = await run(f"wipe old --approval {approval}")

    assert (0, 3) == (done.exit_code, done.rows), done.stderr
    refused(again, "approval-not-valid", f"run {done.outcome and done.outcome.run_id} has used it")
    assert 3 == events(url)
    sql = "SELECT reason FROM oneoff_runs WHERE command = 'wipe' AND status = 'succeeded'"
    assert ("ticket 7",) in query(url, sql)


async def test_the_plan_is_that_of_a_real_dry_run(run: Manage, request_of: Request) -> None:
    """With the rows by table, who requested it and why, and how long it is valid."""
    approval = await request_of("wipe old")

    shown = (await run(f"approval show {approval} --json")).json["data"]
    listed = (await run("approval list --json")).json["data"]

    assert [{"table": "events", "inserted": 0, "updated": 0, "deleted": 3}] == shown["rows"]
    assert ("approved", "wipe old", "v1") == (
        shown["state"],
        shown["line"],
        shown["code_version"],
    )
    assert ("ada", "ticket 7", "bob") == (
        shown["requester"],
        shown["reason"],
        shown["approved_by"][0]["approver"],
    )
    assert [approval] == [row["id"] for row in listed]


@pytest.mark.parametrize("more", [1, -1])
async def test_a_run_that_changes_other_rows_than_the_plan_is_rolled_back(
    run: Manage, url: str, request_of: Request, more: int
) -> None:
    """More or fewer; the approval is used up."""
    approval = await request_of("wipe old")
    add_events(url, more)
    if more < 0:
        write(url, "DELETE FROM events WHERE id = (SELECT max(id) FROM events)")

    late = await run(f"wipe old --approval {approval}")
    again = await run(f"wipe old --approval {approval}")

    refused(late, "approval-plan-changed", f"events: {3 + more} deleted, approved: 3 deleted")
    assert 3 + more == events(url)
    refused(again, "approval-not-valid", "has used it")


async def test_a_command_may_tolerate_some_rows_more(
    run: Manage, url: str, request_of: Request
) -> None:
    """And need two people."""
    approval = await request_of("wipe-about old")
    early = await run(f"wipe-about old --approval {approval}")
    await run(f"approval approve {approval}", environ=CAT)
    add_events(url, 1)

    done = await run(f"wipe-about old --approval {approval}")

    refused(early, "approval-not-valid", "1 of 2 people have approved it")
    assert (0, 4) == (done.exit_code, done.rows), done.stderr


OTHERS = {
    "wipe new": ({}, 'arguments [{"kind": "new"'),
    "wipe old --note x": ({}, "arguments"),
    "wipe-about old": ({}, "command wipe-about, approved: wipe"),
    "wipe old": ({"CODE_VERSION": "v2"}, "code version v2, approved: v1"),
    "wipe  old": ({"ENVIRONMENT": "live"}, "environment live, approved: production"),
}


@ON_SQLITE
async def test_an_approval_is_for_one_command_its_arguments_and_the_code(
    run: Manage, url: str, request_of: Request
) -> None:
    """Another action is refused, and the approval is still there."""
    approval = await request_of("wipe old")

    for line, (environ, why) in OTHERS.items():
        other = await run(f"{line} --approval {approval}", environ=environ)
        refused(other, "approval-not-valid", why)

    assert 3 == events(url)
    assert 0 == (await run(f"wipe old --approval {approval}")).exit_code


@ON_SQLITE
async def test_the_content_of_a_file_is_approved_too(
    run: Manage, request_of: Request, tmp_path: Path
) -> None:
    """A script that is changed after the request is another script."""
    (tmp_path / "fix.py").write_text("1")
    line = f"shell --write {tmp_path}/fix.py"
    approval = await request_of(line)
    (tmp_path / "fix.py").write_text("2")

    changed = await run(f"{line} --approval {approval}")
    (tmp_path / "fix.py").write_text("1")
    done = await run(f"{line} --approval {approval}")

    refused(changed, "approval-not-valid", "arguments")
    assert 0 == done.exit_code, done.stderr


@pytest.mark.parametrize(
    ("line", "why"), [("reject", "bob has rejected it"), ("withdraw", "bob has withdrawn it")]
)
async def test_a_rejected_or_withdrawn_request_starts_no_run(
    run: Manage, url: str, request_of: Request, line: str, why: str
) -> None:
    """Also if it was approved before; and it can't be approved again."""
    approval = await request_of("wipe old")
    assert 0 == (await run(f"approval {line} {approval}", environ=BOB)).exit_code

    denied = await run(f"wipe old --approval {approval}")
    approved = await run(f"approval approve {approval}", environ=CAT)

    refused(denied, "approval-not-valid", why)
    assert "error[approval-not-open]" in approved.stderr
    assert 3 == events(url)


@ON_SQLITE
async def test_an_expired_approval_is_not_revived_by_a_clock_that_was_set_back(
    run: Manage, url: str, request_of: Request
) -> None:
    """The newest run in the record shows that time has passed."""
    approval = await request_of("wipe old", flags="--expires 2h")
    write(url, "UPDATE oneoff_runs SET started_at = '2999-01-01 00:00:00+00:00'")

    late = await run(f"wipe old --approval {approval}")
    listed = (await run("approval list --json")).json["data"]

    refused(late, "approval-not-valid", "it expired at ")
    assert [] == listed
    assert 3 == events(url)


@pytest.mark.parametrize("name", ["ada", "ADA"])
async def test_nobody_approves_a_request_of_their_own(
    run: Manage, url: str, request_of: Request, name: str
) -> None:
    """The table refuses it, whatever the code does."""
    approval = await request_of("wipe old", approve=False)

    own = await run(f"approval approve {approval}", environ={"OPERATOR": name})

    refused(own, "self-approval", "that of a second person")
    values = f"('{approval}', '{name}', 'x', 'ada', 'r', '2026-01-01', NULL, NULL)"
    with pytest.raises(Exception, match=r"ck_oneoff_approvers_second_person|CHECK constraint"):
        write(url, f"INSERT INTO oneoff_approvers VALUES {values}")
    other = values.replace("'ada', 'r'", "'eve', 'r'").replace(f"'{name}'", "'ada'", 1)
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        write(url, f"INSERT INTO oneoff_approvers VALUES {other}")


@ON_SQLITE
async def test_a_user_of_the_machine_is_no_second_person_in_production(
    run: Manage, request_of: Request
) -> None:
    """Nor is an agent, in any environment; and the project may say who is."""
    approval = await request_of("wipe old", approve=False)
    nobody = {"OPERATOR": "", "SUDO_USER": "", "GITHUB_ACTOR": "", "GITLAB_USER_LOGIN": ""}

    user = await run(f"approval approve {approval}", environ=nobody)
    agent = await run(
        f"approval approve {approval}", environ={**BOB, "ENVIRONMENT": "test", "CLAUDECODE": "1"}
    )

    refused(user, "unknown-approver", "people may share a user of this machine")
    eve = await run(f"approval approve {approval}", environ={"OPERATOR": "eve"})
    refused(agent, "agent-refused", "")
    refused(eve, "not-an-approver", "tests.support.approval_project:may_approve decides who may")


@ON_SQLITE
async def test_an_agent_requests_an_approval_and_runs_what_was_approved(
    run: Manage, url: str
) -> None:
    """The line of its refusal works; a person approves."""
    agent = {"CLAUDECODE": "1"}
    denied = await run("wipe old", environ=agent)
    assert denied.outcome is not None
    assert denied.outcome.error is not None
    line = denied.outcome.error.try_[-1].removeprefix("python manage.py ")

    asked = await run(f"{line.replace(' -- ', ' --json -- ')}", environ=agent)
    approval = asked.json["data"]["id"]
    early = await run(f"wipe old --approval {approval}", environ=agent)
    await run(f"approval approve {approval}", environ=BOB)
    done = await run(f"wipe old --approval {approval}", environ=agent)

    refused(early, "approval-not-valid", "0 of 1 people have approved it")
    assert 0 == done.exit_code, done.stderr
    assert 0 == events(url)


async def test_an_approval_is_the_confirmation_of_a_typed_target_and_secrets_are_not_stored(
    run: Manage, url: str, request_of: Request
) -> None:
    """In production, where the target alone would not be enough. The runner gives the secret."""
    secret = "correct-horse-battery-7"  # noqa: S105 - planted
    run.environ["LOGIN_PASSWORD"] = secret
    unapproved = await run("login --confirm=x@production")
    approval = await request_of("login")
    stored = json.dumps({name: dump(url)[name] for name in APPROVAL_TABLES}, default=str)
    del run.environ["LOGIN_PASSWORD"]

    without = await run(f"login --approval {approval}")
    done = await run(f"login --approval {approval}", environ={"LOGIN_PASSWORD": secret})

    refused(unapproved, "prohibited-here", "")
    assert secret not in stored
    assert 2 == without.exit_code
    assert "used 23 characters\n" == done.stdout


async def test_the_plan_of_a_command_that_only_plans_is_made_again(
    run: Manage, url: str, request_of: Request
) -> None:
    """`system environment set` says what was stored before."""
    approval = await request_of("system environment set staging")
    write(url, "UPDATE oneoff_environment SET environment = 'ci'")

    late = await run(f"system environment set staging --approval {approval}")
    write(url, "UPDATE oneoff_environment SET environment = 'test'")
    done = await run(f"system environment set staging --approval {approval}")

    refused(late, "approval-plan-changed", "(was ci); approved: ")
    assert 0 == done.exit_code, done.stderr


@ON_SQLITE
async def test_a_standing_approval_starts_many_runs_of_one_version(
    run: Manage, url: str, request_of: Request
) -> None:
    """Each use is noted; the rows may differ."""
    approval = await request_of("wipe old", flags="--standing --expires 90d")

    first = await run(f"wipe old --approval {approval}")
    add_events(url, 5)
    second = await run(f"wipe old --approval {approval}")
    newer = await run(f"wipe old --approval {approval}", environ={"CODE_VERSION": "v2"})

    assert (0, 0) == (first.exit_code, second.exit_code), second.stderr
    refused(newer, "approval-not-valid", "code version v2, approved: v1")
    shown = (await run(f"approval show {approval} --json")).json["data"]
    assert ("approved", 2) == (shown["state"], len(shown["used_by"]))


@ON_SQLITE
async def test_a_command_that_needs_more_people_now_is_refused(
    run: Manage, request_of: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version of the code may be unknown, and so the same."""
    approval = await request_of("wipe old")
    monkeypatch.setattr("tests.support.approval_commands.wipe.Wipe.approvals", 2)

    late = await run(f"wipe old --approval {approval}")

    refused(late, "approval-not-valid", "2 people must approve it now")


@ON_SQLITE
async def test_the_glass_may_be_broken_instead(run: Manage, url: str) -> None:
    """The record has the reason."""
    done = await run("wipe old --break-glass 'the site is down'")

    assert 0 == done.exit_code, done.stderr
    sql = "SELECT break_glass FROM oneoff_runs WHERE command = 'wipe'"
    assert [("the site is down",)] == query(url, sql)


@ON_SQLITE
async def test_used_approvals_do_not_hide_open_ones(run: Manage, request_of: Request) -> None:
    """The limit counts what is shown."""
    waiting = await request_of("wipe old")
    used = await request_of("wipe old")
    assert 0 == (await run(f"wipe old --approval {used}")).exit_code

    listed = await run("approval list --limit 1 --json")

    assert [waiting] == [row["id"] for row in listed.json["data"]]
