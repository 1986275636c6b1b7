"""`cache warm`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from app import warmers
from oneoff import Warmer
from oneoff.testing import Manage
from tests.support.fixture_types import MakeUser
from tests.support.redis_project import ask, environ_on, keys_in

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


@pytest.fixture
def manage_environ(migrated_sqlite: Path, tmp_path: Path, redis_url: str) -> dict[str, str]:
    """Run `manage` on an empty Redis."""
    return environ_on(redis_url, migrated_sqlite, tmp_path)


async def test_the_projects_warmers_fill_the_cache(
    manage: Manage, make_user: MakeUser, redis_url: str
) -> None:
    """User counts by role, and the active admins; both expire."""
    await make_user("grace", role="admin")
    await make_user("ada", role="admin")
    await make_user("linus")
    await make_user("eve", role="admin", active=False)

    warmed = await manage("cache warm --json")

    assert (0, 2) == (warmed.exit_code, warmed.rows)
    assert [{"warmer": "user-counts", "keys": 1}, {"warmer": "admins", "keys": 1}] == warmed.json[
        "data"
    ]
    assert {"user": 1, "moderator": 0, "admin": 2} == json.loads(
        ask(redis_url, "GET", warmers.USER_COUNTS)
    )
    assert ["ada", "grace"] == json.loads(ask(redis_url, "GET", warmers.ADMINS))
    assert 0 < ask(redis_url, "TTL", warmers.ADMINS) <= warmers.TTL


async def test_a_dry_run_lists_what_would_run(manage: Manage, redis_url: str) -> None:
    """It writes nothing."""
    preview = await manage("cache warm admins --dry-run --json")

    plan = [{"warmer": "admins", "fills": "The usernames of the active admins."}]
    assert (0, 1, plan) == (preview.exit_code, preview.rows, preview.json["data"])
    assert [] == keys_in(redis_url)


async def test_an_unknown_warmer_gets_a_suggestion(manage: Manage) -> None:
    """And the list of all warmers."""
    refused = await manage("cache warm user-count")

    assert 2 == refused.exit_code
    assert (
        "error[unknown-warmer]: there is no warmer 'user-count'; did you mean user-counts?\n"
    ) in refused.stderr
    assert "  try:  one of the project's warmers: user-counts, admins\n" in refused.stderr
    assert "  try:  python manage.py cache warm user-counts\n" in refused.stderr


async def test_a_name_like_no_warmer_gets_the_list_of_warmers(
    manage: Manage,
) -> None:
    """Exit code 2, as for every unknown name."""
    refused = await manage("cache warm zzz")

    assert 2 == refused.exit_code
    assert "error[unknown-warmer]: there is no warmer 'zzz'\n" in refused.stderr
    assert "  try:  one of the project's warmers: user-counts, admins\n" in refused.stderr


async def test_one_warmer_is_counted_in_the_singular(manage: Manage) -> None:
    """The message says "1 warmer" and "1 key"."""
    assert "ran 1 warmer: 1 key\n" in (await manage("cache warm admins")).stdout


async def test_a_concurrency_below_1_is_a_usage_error(manage: Manage) -> None:
    """No warmer would run."""
    refused = await manage("cache warm --concurrency 0")

    assert 2 == refused.exit_code
    assert "--concurrency 0 is less than 1" in refused.stderr


async def test_concurrency_limits_how_many_warmers_run_at_a_time(
    manage: Manage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each one has its own session."""
    sessions: set[int] = set()
    running = most = 0

    async def run(session: AsyncSession, cache: Any) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        sessions.add(id(session))
        await session.execute(text("SELECT 1"))
        await asyncio.sleep(0.02)
        running -= 1
        return 0

    many = [Warmer(name=f"w{number}", help="Wait.", run=run) for number in range(6)]
    monkeypatch.setattr(warmers, "WARMERS", many)

    one = await manage("cache warm --concurrency 1")
    alone, most = most, 0
    three = await manage("cache warm --concurrency 3")

    assert (0, 0, 1, 3) == (one.exit_code, three.exit_code, alone, most)


async def test_a_warmer_cant_write_to_the_database(
    manage: Manage, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session is read-only."""
    await make_user("ada")

    async def run(session: AsyncSession, cache: Any) -> int:
        await session.execute(text("DELETE FROM users"))
        return 0

    monkeypatch.setattr(warmers, "WARMERS", [Warmer(name="wrong", help="Delete.", run=run)])
    refused = await manage("cache warm --json")
    users = await manage("user list --json")

    assert (1, "read-only") == (refused.exit_code, refused.json["error"]["code"])
    assert 1 == len(users.json["data"])


async def test_the_first_error_stops_the_other_warmers(
    manage: Manage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run reports this error."""
    started, stopped = asyncio.Event(), asyncio.Event()

    async def fail(session: AsyncSession, cache: Any) -> int:
        await started.wait()
        await cache.incr("text")
        return 1

    async def wait(session: AsyncSession, cache: Any) -> int:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()
        return 1

    named = {"fail": fail, "wait": wait}
    made = [Warmer(name=name, help="Try.", run=run) for name, run in named.items()]
    monkeypatch.setattr(warmers, "WARMERS", made)
    ask(manage.environ["REDIS_URL"], "SET", "text", "not a number")

    failed = await manage("cache warm --json")

    assert (1, "redis-error") == (failed.exit_code, failed.json["error"]["code"])
    assert "value is not an integer" in failed.json["error"]["message"]
    assert stopped.is_set()
