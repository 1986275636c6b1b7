"""`outbox deliver`, and deliveries by the worker."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app import tasks
from app.mailer import FileMailer
from oneoff.config.database_url import parse_database_url
from oneoff.database.engine import Database
from oneoff.integrations.pooled_database import PooledDatabase
from oneoff.services.outbox.delivery import Delivered, deliver_effects
from oneoff.services.outbox.effects import Effect
from oneoff.testing import Manage
from tests.support.database import query
from tests.support.fixture_types import MakeUser
from tests.support.tally_effects import HANDLERS, seen
from tests.support.tally_project import NAME, ROOT, execute, make_tally, times_done

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

OLD = "2026-01-01 00:00:00+00:00"
STATES = "SELECT id, attempts, delivered_at IS NOT NULL FROM oneoff_outbox ORDER BY id"


@pytest.fixture
def url(manage_environ: dict[str, str]) -> str:
    """Return the URL of a migrated database with ten rows in the tally table."""
    make_tally(manage_environ["DATABASE_URL"], 10)
    seen.clear()
    return manage_environ["DATABASE_URL"]


@pytest.fixture
def tally(url: str, manage_environ: dict[str, str]) -> Manage:
    """Run command lines of the tally's project."""
    return Manage(NAME, str(ROOT), manage_environ)


def put(url: str, *payloads: dict[str, Any], kind: str = "tally.count") -> None:
    """Store effects in the outbox with an old time, so that they are due after each failure."""
    for payload in payloads:
        text = json.dumps(payload)
        execute(
            url,
            "INSERT INTO oneoff_outbox (batch_id, kind, payload, created_at) "
            f"VALUES ('', '{kind}', '{text}', '{OLD}')",
        )


def states(url: str) -> list[tuple[int, int, bool]]:
    """Return for each effect its number, its attempts, and whether it was delivered."""
    return [(number, attempts, bool(done)) for number, attempts, done in query(url, STATES)]


async def test_waiting_effects_are_delivered_once(tally: Manage, url: str) -> None:
    """The second run finds nothing to do."""
    put(url, {"row": 1}, {"row": 2})

    first = await tally("outbox deliver")
    again = await tally("outbox deliver")

    assert (0, 2) == (first.exit_code, first.rows), first.stderr
    assert "\ndelivered 2 effects\n" in first.stdout
    assert (0, "nothing to deliver\n") == (again.exit_code, again.stdout)
    assert ([1, 2], {0: 8, 1: 2}) == (seen, times_done(url))
    assert [(1, 1, True), (2, 1, True)] == states(url)


async def test_a_dry_run_counts_by_kind_and_delivers_nothing(tally: Manage, url: str) -> None:
    """A kind without a handler is shown, and is not counted."""
    put(url, {"row": 1}, {"row": 2})
    put(url, {}, kind="nobody.does")

    preview = await tally("outbox deliver --dry-run --json")

    assert (0, 2, {0: 10}) == (preview.exit_code, preview.rows, times_done(url))
    assert [
        {"kind": "nobody.does", "waiting": 1, "has_handler": False},
        {"kind": "tally.count", "waiting": 2, "has_handler": True},
    ] == preview.json["data"]


async def test_a_failed_effect_keeps_its_error_and_the_others_are_delivered(
    tally: Manage, url: str
) -> None:
    """Exit code 75; the handler's writes are rolled back, and the error contains no secret."""
    put(url, {"row": 1, "fails": "always"}, {"row": 2})

    failed = await tally("outbox deliver")
    listed = await tally("outbox list --json")

    assert (75, {0: 9, 1: 1}) == (failed.exit_code, times_done(url))
    assert "error[effects-left]: 1 effect delivered, 1 failed\n" in failed.stderr
    (one,) = listed.json["data"]
    assert (1, "waiting", 1) == (one["id"], one["state"], one["attempts"])
    assert "row has no address" in one["error"]
    assert "hunter2" not in one["error"] + listed.stdout


async def test_the_next_run_tries_a_failed_effect_again(tally: Manage, url: str) -> None:
    """Here the second attempt succeeds."""
    put(url, {"row": 1, "fails": "once"})

    first = await tally("outbox deliver")
    second = await tally("outbox deliver")

    assert (75, 0, {0: 9, 1: 1}) == (first.exit_code, second.exit_code, times_done(url))
    assert [(1, 2, True)] == states(url)


async def test_an_effect_that_just_failed_is_not_tried_immediately(tally: Manage, url: str) -> None:
    """It is tried again a minute after it was stored."""
    put(url, {"row": 1, "fails": "once"})
    now = datetime.now(UTC).isoformat(sep=" ")
    execute(url, f"UPDATE oneoff_outbox SET created_at = '{now}'")

    await tally("outbox deliver")
    soon = await tally("outbox deliver")

    assert (0, "nothing to deliver\n") == (soon.exit_code, soon.stdout)
    assert [(1, 1, False)] == states(url)


async def test_an_effect_that_always_fails_is_given_up_and_kept(tally: Manage, url: str) -> None:
    """After five attempts, with exit code 1. Then only `--given-up` tries it."""
    put(url, {"row": 1, "fails": "always"})

    codes = [(await tally("outbox deliver")).exit_code for _ in range(6)]
    listed = await tally("outbox list --state given-up --json")
    told = await tally("outbox deliver --given-up")

    assert [75, 75, 75, 75, 1, 0] == codes
    assert [(1, "given-up")] == [(one["id"], one["state"]) for one in listed.json["data"]]
    assert (1, [(1, 6, False)]) == (told.exit_code, states(url))
    assert "error[effect-given-up]: 1 effect given up, 0 delivered, 0 to be tried" in told.stderr


async def test_an_attempt_does_not_count_if_a_service_is_down(tally: Manage, url: str) -> None:
    """No other effect of this kind is tried in this run; effects of other kinds are."""
    put(url, {"row": 1, "fails": "down"}, {"row": 2})
    put(url, {"row": 3}, kind="tally.other")

    away = await tally("outbox deliver")

    assert (75, [3]) == (away.exit_code, seen)
    assert [(1, 0, False), (2, 0, False), (3, 1, True)] == states(url)


async def test_an_attempt_counts_if_the_effect_kills_its_process(
    url: str, manage_environ: dict[str, str]
) -> None:
    """Otherwise it would kill every later delivery. Its writes are rolled back."""
    put(url, {"row": 1, "fails": "dies"}, {"row": 2})
    line = [sys.executable, "-m", "tests.support.tally_project", "outbox", "deliver"]

    killed = await asyncio.to_thread(
        subprocess.run, line, cwd=ROOT, env=manage_environ, capture_output=True, check=False
    )

    assert (-9, {0: 10}) == (killed.returncode, times_done(url))
    assert [(1, 1, False), (2, 0, False)] == states(url)


async def test_an_attempt_does_not_count_if_the_delivery_is_stopped(
    url: str, manage_environ: dict[str, str]
) -> None:
    """Otherwise five deployments during a delivery would give the effect up."""
    put(url, {"row": 1, "fails": "hangs"})
    line = [sys.executable, "-m", "tests.support.tally_project", "outbox", "deliver"]

    stopped = await asyncio.to_thread(
        subprocess.run, line, cwd=ROOT, env=manage_environ, capture_output=True, check=False
    )

    assert (143, {0: 10}) == (stopped.returncode, times_done(url))
    assert [(1, 0, False)] == states(url)


async def test_concurrent_deliveries_deliver_each_effect_once(url: str) -> None:
    """Each delivery skips the effects that another one is delivering."""
    if url.startswith("sqlite"):
        pytest.skip("SQLite has one writer at a time")
    put(url, *({"row": row} for row in range(1, 11)))
    done: list[int] = []

    async def slowly(effect: Effect) -> None:
        done.append(effect.id)
        await asyncio.sleep(0.01)

    async def work() -> None:
        database = Database(parse_database_url(url, Path(), "shop"), run_id="test")
        process = PooledDatabase(database)
        await deliver_effects(process.session, {"tally.count": slowly})
        await process.dispose()

    await asyncio.gather(*(work() for _ in range(3)))

    assert list(range(1, 11)) == sorted(done)
    assert all(delivered for _, _, delivered in states(url))


async def test_an_effect_that_another_delivery_has_claimed_is_skipped(url: str) -> None:
    """Even before its handler starts; otherwise each delivery would use up an attempt."""
    put(url, {"row": 1}, {"row": 2})
    process = PooledDatabase(Database(parse_database_url(url, Path(), "shop"), run_id="test"))
    others: list[Delivered] = []

    @asynccontextmanager
    async def transaction() -> AsyncIterator[AsyncSession]:
        async with process.session() as session:
            yield session
        if not others:  # the attempt at the first effect is counted, and it is not locked yet
            others.append(await deliver_effects(process.session, HANDLERS))

    mine = await deliver_effects(transaction, HANDLERS)
    await process.dispose()

    assert [2, 1] == seen
    assert [{"tally.count": 1}] * 2 == [mine.done, others[0].done]
    assert [(1, 1, True), (2, 1, True)] == states(url)


async def test_an_effect_that_a_dead_process_has_claimed_is_free_after_a_minute(
    tally: Manage, url: str
) -> None:
    """Other deliveries can't detect that the process is dead."""
    put(url, {"row": 1}, {"row": 2})
    now = datetime.now(UTC)
    for number, until in ((1, now + timedelta(minutes=1)), (2, now - timedelta(seconds=1))):
        moment = until.isoformat(sep=" ")
        execute(url, f"UPDATE oneoff_outbox SET claimed_until = '{moment}' WHERE id = {number}")

    preview = await tally("outbox deliver --dry-run")
    delivered = await tally("outbox deliver --given-up")

    assert (1, 1, [2]) == (preview.rows, delivered.rows, seen)
    assert [(1, 0, False), (2, 1, True)] == states(url)


async def test_a_bound_leaves_the_other_effects(tally: Manage, url: str) -> None:
    """The exit code is 75 while effects are left, otherwise 0."""
    put(url, {"row": 1}, {"row": 2})

    first = await tally("outbox deliver --max-rows 1")
    second = await tally("outbox deliver --max-rows 1")

    assert (75, 0) == (first.exit_code, second.exit_code)
    assert "error[effects-left]: 1 effect delivered, there are more\n" in first.stderr


async def test_effects_without_a_handler_wait_and_cause_a_warning(tally: Manage, url: str) -> None:
    """The attempt does not count, and the exit code is 0."""
    put(url, {}, kind="nobody.does")

    done = await tally("outbox deliver")

    assert (0, [(1, 0, False)]) == (done.exit_code, states(url))
    assert "warning: 1 effect of the kind 'nobody.does' waiting: it has no handler\n" in done.stderr


async def test_a_promoted_user_gets_a_mail_by_the_command_and_by_the_worker(
    manage: Manage, make_user: MakeUser, manage_environ: dict[str, str], tmp_path: Path
) -> None:
    """It is sent after the promotion is committed; a dry run sends nothing."""
    await make_user("ada")
    environ = {"MAIL_URL": f"file:{tmp_path}/mails"}
    await manage("user promote ada moderator --dry-run", environ=environ)
    nothing = await manage("outbox deliver", environ=environ)
    await manage("user promote ada moderator --confirm")
    by_command = await manage("outbox deliver", environ=environ)
    await manage("user promote ada user --confirm")
    url = parse_database_url(manage_environ["DATABASE_URL"], Path(), "shop")
    process = PooledDatabase(Database(url, run_id="test"))
    mailer = FileMailer(tmp_path / "mails", "shop@example.com")
    by_worker = await tasks.deliver_outbox({"database": process, "mailer": mailer})
    await process.dispose()

    assert (0, 1) == (nothing.rows, by_command.rows), by_command.stderr
    assert {"mail.promoted": 1} == by_worker
    mails = sorted((tmp_path / "mails").iterdir())
    said = ["your role is moderator from now on", "your role is user from now on"]
    assert said == [mail.read_text().splitlines()[-1].rstrip(".") for mail in mails]
