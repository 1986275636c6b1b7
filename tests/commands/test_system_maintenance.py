"""`system maintenance on`, `off` and `status`."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
from sqlalchemy import text, update

from oneoff.config.database_url import parse_database_url
from oneoff.database.tables import maintenance
from oneoff.services.maintenance.redis_copy import key_of
from oneoff.services.maintenance.window import decode, is_pass
from oneoff.testing import Manage
from tests.support.database import query
from tests.support.fixture_types import Sessions
from tests.support.servers.process import free_port

KEY = "k" * 32


def windows(manage: Manage) -> list[tuple[object, ...]]:
    """Return the message and reason of each stored window, and whether it ended."""
    rows = (
        "SELECT message, reason, ended_at IS NOT NULL FROM oneoff_maintenance ORDER BY started_at"
    )
    found = query(manage.environ["DATABASE_URL"], rows)
    return [(message, reason, bool(ended)) for message, reason, ended in found]


def copy_key(manage: Manage) -> str:
    """Return the key of the copy in Redis."""
    url = parse_database_url(manage.environ["DATABASE_URL"], Path(), "shop")
    return key_of("shop", url)


async def test_switching_on_twice_opens_one_window(manage: Manage) -> None:
    """The second run succeeds, writes nothing, and reports that."""
    first = await manage(
        ["system", "maintenance", "on", "--message", "back soon", "--reason", "move", "--confirm"]
    )
    again = await manage("system maintenance on --confirm")

    assert (0, 1) == (first.exit_code, first.rows), first.stderr
    assert "maintenance is on, until it is switched off\n" == first.stdout
    assert (0, 0) == (again.exit_code, again.rows)
    assert "maintenance is already on, until it is switched off\n" == again.stdout
    assert [("back soon", "move", False)] == windows(manage)


async def test_a_second_run_can_change_the_end_and_the_message(manage: Manage) -> None:
    """The window and its pass stay the same. Options that are not given keep their values."""
    await manage("system maintenance on --message one --confirm")
    before = (await manage("system maintenance status --json")).json["data"]

    changed = await manage(
        "system maintenance on --expires 2h --confirm --json", environ={"SECRET_KEY": KEY}
    )
    after = (await manage("system maintenance status --json")).json["data"]

    assert (True, 1) == (changed.json["changed"], changed.json["rows"])
    assert "pass" not in changed.json["data"]
    assert changed.json["message"].startswith("maintenance stays on, until 2")
    assert None is before["expires"]
    in_two_hours = datetime.now(UTC) + timedelta(hours=2)
    assert abs(datetime.fromisoformat(after["expires"]) - in_two_hours) < timedelta(minutes=1)
    kept = ("window_id", "since", "message", "run_id")
    assert [before[name] for name in kept] == [after[name] for name in kept]


async def test_a_second_run_shows_the_new_message_for_visitors(manage: Manage) -> None:
    """Only if the message has changed."""
    await manage("system maintenance on --message one --confirm")

    planned = await manage("system maintenance on --message later --dry-run")
    changed = await manage("system maintenance on --message later --confirm")
    longer = await manage("system maintenance on --message later --expires 2h --confirm")

    said = "on, until it is switched off; visitors see 'later'\n"
    assert planned.stdout.endswith(f"maintenance would stay {said}")
    assert f"maintenance stays {said}" == changed.stdout
    assert "visitors" not in longer.stdout


async def test_a_dry_run_shows_the_result_and_changes_nothing(manage: Manage) -> None:
    """For on and for off."""
    on = await manage("system maintenance on --expires 2h --dry-run", environ={"SECRET_KEY": KEY})
    untouched = windows(manage)
    await manage("system maintenance on --confirm")
    off = await manage("system maintenance off --dry-run")

    assert on.stdout.startswith("DRY RUN: nothing was changed\nmaintenance would be on, until 2")
    assert [] == untouched
    assert "pass" not in on.stdout
    assert "maintenance would be off" in off.stdout
    assert [("", "", False)] == windows(manage)


async def test_switching_off_twice_ends_the_window_once(manage: Manage) -> None:
    """The second run has nothing to do."""
    await manage("system maintenance on --confirm")

    first = await manage("system maintenance off --confirm")
    again = await manage("system maintenance off --confirm")

    assert (0, 1) == (first.exit_code, first.rows), first.stderr
    assert first.stdout.startswith("maintenance is off; it was on since ")
    assert (0, 0, "maintenance is already off\n") == (again.exit_code, again.rows, again.stdout)
    assert [("", "", True)] == windows(manage)


async def test_the_pass_is_shown_once_and_not_stored(manage: Manage) -> None:
    """It is valid for this window. Neither the database nor later output contains it."""
    on = await manage("system maintenance on --confirm --json", environ={"SECRET_KEY": KEY})
    again = await manage("system maintenance on --confirm", environ={"SECRET_KEY": KEY})
    status = await manage("system maintenance status --json", environ={"SECRET_KEY": KEY})

    shown = on.json["data"]["pass"]
    assert is_pass(KEY, on.json["data"]["window_id"], shown.encode())
    signature = shown.partition(".")[2]
    url = manage.environ["DATABASE_URL"]
    stored = repr(
        [query(url, f"SELECT * FROM oneoff_{name}") for name in ("runs", "audit", "maintenance")]
    )
    assert signature not in stored + on.stderr + again.stdout + again.stderr + status.stdout


async def test_without_a_key_there_is_no_pass(manage: Manage) -> None:
    """A warning says so, and maintenance is on."""
    on = await manage("system maintenance on --confirm --json")

    assert "no pass was created: SECRET_KEY is not set" in on.json["warnings"]
    assert "pass" not in on.json["data"]


async def test_an_expired_window_is_off(manage: Manage, sessions: Sessions) -> None:
    """`status` shows off, `off` has nothing to do, and `on` opens another window."""
    await manage("system maintenance on --expires 1h --confirm")
    async with sessions() as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        await session.execute(update(maintenance).values(expires_at=past))
        await session.commit()

    status = await manage("system maintenance status --json")
    off = await manage("system maintenance off --confirm")
    on = await manage("system maintenance on --message again --confirm")

    assert "off" == status.json["data"]["maintenance"]
    assert "maintenance is already off\n" == off.stdout
    assert (0, 1) == (on.exit_code, on.rows), on.stderr
    assert [("", "", True), ("again", "", False)] == windows(manage)


@pytest.mark.parametrize(
    ("expires", "wrong"),
    [
        ("0s", "is not positive"),
        ("400d", "is longer than 365 days"),
        ("99999999d", "is longer than 365 days"),
    ],
)
async def test_an_invalid_time_to_expire_is_refused(
    manage: Manage, expires: str, wrong: str
) -> None:
    """A usage error that names the value as it was typed."""
    refused = await manage(f"system maintenance on --expires {expires} --confirm")

    assert 2 == refused.exit_code
    assert f"--expires {expires} {wrong}\n" in refused.stderr
    assert [] == windows(manage)


async def test_status_shows_who_and_why(manage: Manage) -> None:
    """And the state in the database and in Redis."""
    environ = {"OPERATOR": "ada"}
    on = await manage(
        'system maintenance on --message soon --reason "new disks" --confirm --json',
        environ=environ,
    )

    status = await manage("system maintenance status --json")

    data = status.json["data"]
    assert {
        "maintenance": "on",
        "since": data["since"],
        "expires": None,
        "message": "soon",
        "reason": "new disks",
        "operator": "ada",
        "run_id": on.json["run_id"],
        "window_id": data["window_id"],
        "database": "on",
        "redis": "REDIS_URL is not set",
    } == data


async def test_the_copy_in_redis_is_written_after_the_commit(
    manage: Manage, redis_url: str
) -> None:
    """For on and for off. The copy contains only what visitors may know."""
    environ = {"REDIS_URL": redis_url}
    found = []
    with redis.Redis.from_url(redis_url) as client:
        for line in ('on --message soon --reason "our secret"', "off"):
            done = await manage(f"system maintenance {line} --confirm", environ=environ)
            assert 0 == done.exit_code, done.stderr
            found.append(client.get(copy_key(manage)))
    status = await manage("system maintenance status --json", environ=environ)

    window = decode(found[0])
    assert window is not None
    assert ("soon", None) == (window.message, decode(found[1]))
    assert b"our secret" not in found[0]
    assert ("off", "off") == (status.json["data"]["database"], status.json["data"]["redis"])


async def test_a_run_that_fails_writes_no_copy(
    manage: Manage, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis must not contain a state that the database does not have."""

    async def refuse(_work: object) -> None:
        message = "the commit failed"
        raise OSError(message)

    monkeypatch.setattr("oneoff.database.transaction.WorkTransaction.commit", refuse)

    done = await manage("system maintenance on --confirm", environ={"REDIS_URL": redis_url})

    assert 1 == done.exit_code
    with redis.Redis.from_url(redis_url) as client:
        assert [] == client.keys()
    assert [] == windows(manage)


async def test_maintenance_can_be_switched_on_without_redis(manage: Manage) -> None:
    """A warning names the server that can't be reached."""
    environ = {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}

    on = await manage("system maintenance on --confirm", environ=environ)
    status = await manage("system maintenance status --json", environ=environ)

    assert 0 == on.exit_code, on.stderr
    assert "warning: Redis at 127.0.0.1:" in on.stderr
    assert "can't be reached" in on.stderr
    assert "on" == status.json["data"]["maintenance"]
    assert "can't be reached" in status.json["data"]["redis"]


@pytest.mark.parametrize("time", ["2099-01-01T00:00:00", "no time", 5])
async def test_status_does_not_fail_because_of_an_invalid_copy(
    manage: Manage, redis_url: str, time: object
) -> None:
    """It is shown as no copy."""
    environ = {"REDIS_URL": redis_url}
    await manage("system maintenance on --confirm", environ=environ)
    facts = {"id": "x", "started_at": time, "expires_at": time, "message": ""}
    with redis.Redis.from_url(redis_url) as client:
        (key,) = client.scan_iter("oneoff:maintenance:*")
        client.set(key, json.dumps({"window": facts}))

    status = await manage("system maintenance status --json", environ=environ)

    assert 0 == status.exit_code, status.stderr
    assert ("on", "no copy") == (status.json["data"]["database"], status.json["data"]["redis"])


async def test_status_without_the_database_shows_the_state_in_redis(
    manage: Manage, redis_url: str, tmp_path: Path
) -> None:
    """The exit code is 69, and the data is shown."""
    environ = {
        "REDIS_URL": redis_url,
        "DATABASE_URL": f"postgres://nobody@127.0.0.1:{free_port()}/shop",
    }

    status = await manage("system maintenance status --json", environ=environ)

    assert 69 == status.exit_code
    assert (None, "no copy") == (status.json["data"]["maintenance"], status.json["data"]["redis"])


async def test_a_database_of_older_code_must_be_migrated_first(
    manage: Manage, sessions: Sessions
) -> None:
    """`on` is refused and suggests `migrate`; `status` shows that the database is not migrated."""
    async with sessions() as session:
        await session.execute(text("DROP TABLE oneoff_maintenance"))
        await session.execute(text("UPDATE oneoff_alembic_version SET version_num = '0001'"))
        await session.commit()

    on = await manage("system maintenance on --confirm")
    status = await manage("system maintenance status --json")

    assert 78 == on.exit_code
    assert "error[not-migrated]" in on.stderr
    assert "  try:  python manage.py migrate\n" in on.stderr
    assert ("off", "not migrated") == (
        status.json["data"]["maintenance"],
        status.json["data"]["database"],
    )


async def test_two_runs_at_once_open_one_window(manage: Manage) -> None:
    """The second run waits for the first and has nothing to do."""
    line = "system maintenance on --confirm"

    done = await asyncio.gather(manage(line), manage(line))

    assert [(0, 0), (0, 1)] == sorted((one.exit_code, one.rows) for one in done)
    assert 1 == len(windows(manage))


async def test_the_help_lists_commands_with_three_words(manage: Manage) -> None:
    """The group `maintenance` is in the group `system`."""
    everything = await manage("help")
    group = await manage("system maintenance --help")

    assert "system maintenance on " in everything.stdout
    assert "system maintenance status" in group.stdout
