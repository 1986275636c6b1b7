"""If Redis is down, slow or locked, every command that uses it says so and changes nothing."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import pytest

from oneoff.testing import Manage
from tests.commands.test_contract import NAMES, Stage, command_of, redis_dump
from tests.support.redis_project import environ_on
from tests.support.servers import Proxy
from tests.support.servers.process import HOST, free_port

TIMEOUT = 0.2
LONG = 30
"""Seconds until the server answers: longer than a busy machine needs for the timeout."""
ASKING = [name for name in NAMES if {"cache", "jobs"} & set(command_of(name).resources())]


@pytest.fixture
def manage_environ(migrated_sqlite: Path, tmp_path: Path, redis_url: str) -> dict[str, str]:
    """Run `manage` on one database, because these tests are about Redis."""
    return environ_on(redis_url, migrated_sqlite, tmp_path)


@pytest.fixture
async def stage(
    request: pytest.FixtureRequest, manage: Manage, tmp_path: Path, redis_url: str
) -> Stage:
    """Set up the sample of a command, while Redis is healthy."""
    made = Stage(manage, request.param, tmp_path, redis_url)
    await made.set_up()
    return made


@pytest.mark.parametrize("how", ["down", "slow", "locked"])
@pytest.mark.parametrize("stage", ASKING, indirect=True)
async def test_an_unavailable_redis_is_reported_in_time(
    stage: Stage, redis_url: str, redis_proxy: Proxy, how: str
) -> None:
    """Exit code 69 or 78, no later than the timeout, and Redis is unchanged."""
    address = redis_url.rpartition("@")[2]
    before = redis_dump(redis_url)
    redis_proxy.delay(LONG)
    stage.redis_url, expected = {
        "down": (f"redis://{HOST}:{free_port()}/0", (69, "redis-unreachable")),
        "slow": (redis_proxy.url(redis_url), (69, "redis-slow")),
        "locked": (f"redis://{address}", (78, "bad-redis-login")),
    }[how]
    stage.manage.environ["REDIS_TIMEOUT"] = str(TIMEOUT)
    started = monotonic()

    done = await stage.run("--json", *stage.confirmation)

    assert expected == (done.exit_code, done.json["error"]["code"])
    assert monotonic() - started < LONG
    assert before == redis_dump(redis_url)


def test_all_commands_of_cache_and_jobs_are_tested() -> None:
    """Each of them asks for Redis."""
    ours = {name for name in NAMES if name.split()[0] in {"cache", "jobs"}}

    assert set() == ours - set(ASKING)
