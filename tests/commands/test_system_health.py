"""`system health`: the exit code, and a row for each service."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oneoff import Project
from oneoff.config.settings import load_config
from oneoff.services.health import Check, Health, check_services, wait_until_healthy, worst
from tests.support.servers import Redis
from tests.support.servers.psql import PASSWORD
from tests.support.tally_project import execute

if TYPE_CHECKING:
    from oneoff.testing import Manage

HEAD = max(file.stem for file in Path("migrations/versions").glob("*.py")).partition("_")[0]
UP, UNKNOWN, BEHIND, DOWN, WRONG = (Check("database", health) for health in Health)


def make(path: Path) -> None:
    """Create an empty file, which is a database without tables."""
    path.touch()


def files(path: Path) -> list[Path]:
    """Return the files of this name."""
    return list(path.parent.glob(f"{path.stem}*"))


@pytest.fixture
def new_file(tmp_path: Path) -> Path:
    """Return the path of a SQLite file that does not exist."""
    return tmp_path / "new.sqlite3"


async def test_healthy_services_exit_0(manage: Manage) -> None:
    """The database answers, with its latency, and is at head."""
    outcome = await manage("system health --json")

    database, migrations = outcome.json["data"]
    assert 0 == outcome.exit_code
    assert ("database", "up") == (database["service"], database["health"])
    assert 0 <= database["latency_ms"] < 10_000
    assert ("migrations", "up", f"at head {HEAD}") == (
        migrations["service"],
        migrations["health"],
        migrations["detail"],
    )


async def test_a_database_that_is_down_exits_69(manage: Manage) -> None:
    """The error and the data name it without its password."""
    url = "postgres://ada:p%40ss-word@127.0.0.1:1/shop"

    outcome = await manage("system health", environ={"DATABASE_URL": url})

    assert 69 == outcome.exit_code
    assert "error[unavailable]: database is down: PostgreSQL at 127.0.0.1:1 " in outcome.stderr
    assert "database    down" in outcome.stdout
    assert "p%40ss-word" not in outcome.stdout + outcome.stderr


async def test_pending_migrations_exit_3(manage: Manage, new_file: Path) -> None:
    """The database answers, but the code is ahead of it."""
    make(new_file)

    outcome = await manage("system health", environ={"DATABASE_URL": f"sqlite:///{new_file}"})

    assert 3 == outcome.exit_code
    assert "migrations is behind: " in outcome.stderr
    assert "  try:  python manage.py migrate\n" in outcome.stderr


async def test_the_check_creates_no_file(manage: Manage, new_file: Path) -> None:
    """A SQLite file that does not exist yet is not created."""
    outcome = await manage("system health", environ={"DATABASE_URL": f"sqlite:///{new_file}"})

    assert 3 == outcome.exit_code
    assert [] == files(new_file)


async def test_a_probe_leaves_no_row(manage: Manage) -> None:
    """It may run every few seconds."""
    await manage("system health")

    assert [] == (await manage("audit list --command 'system health'")).result.data


async def test_a_database_ahead_of_the_code_is_healthy(manage: Manage, tmp_path: Path) -> None:
    """In a rolling release, old processes continue to serve requests."""
    await manage(
        'shell --write --confirm -c "await session.execute(text('
        "'UPDATE alembic_version SET version_num = \\'9999\\''))\""
    )

    outcome = await manage("system health")

    assert 0 == outcome.exit_code, outcome.stderr
    assert "the database is at revision 9999" in outcome.stdout


@pytest.mark.parametrize(
    ("answers", "seconds", "asked"),
    [
        ([UP], 0, 1),
        ([DOWN, UP], 0, 1),
        ([DOWN, BEHIND, UP], 60, 3),
        ([DOWN] * 5, 1.0, 3),
        ([DOWN, WRONG, UP], 60, 2),
    ],
)
async def test_it_checks_again_until_all_are_healthy_or_the_time_is_over(
    answers: list[Check], seconds: float, asked: int
) -> None:
    """Twice a second. It does not wait if a setting is wrong."""
    now, count = 0.0, 0

    async def ask() -> list[Check]:
        nonlocal count
        count += 1
        return [answers[count - 1]]

    async def sleep(pause: float) -> None:
        nonlocal now
        now += pause

    last = await wait_until_healthy(ask, seconds, clock=lambda: now, sleep=sleep)

    assert (asked, [answers[asked - 1]]) == (count, last)


def test_the_worst_service_counts() -> None:
    """An empty list counts as healthy."""
    assert [Health.UP, Health.BEHIND, Health.DOWN, Health.WRONG] == [
        worst([]),
        worst([UP, UNKNOWN, BEHIND]),
        worst([DOWN, BEHIND]),
        worst([DOWN, WRONG, UP]),
    ]


async def test_with_redis_url_redis_and_the_worker_are_checked(
    manage: Manage, redis_url: str
) -> None:
    """A project whose worker is not running is not healthy."""
    outcome = await manage("system health --json", environ={"REDIS_URL": redis_url})

    found = {row["service"]: row for row in outcome.json["data"]}
    assert 69 == outcome.exit_code
    assert ["database", "migrations", "redis", "worker"] == list(found)
    assert ("up", "down") == (found["redis"]["health"], found["worker"]["health"])
    assert 0 <= found["redis"]["latency_ms"] < 10_000
    assert (
        "no worker has reported; start one: arq app.worker.WorkerSettings "
        "--custom-log-dict oneoff.integrations.process_logs.WORKER_LOGGING"
        == found["worker"]["detail"]
    )
    assert PASSWORD not in outcome.stdout + outcome.stderr


async def test_a_running_worker_is_found_by_its_health_key(
    manage: Manage, redis_server: Redis, redis_url: str
) -> None:
    """ARQ writes the key, which disappears when the worker stops."""
    sign = "Nov-21 12:00:00 j_complete=5 j_failed=1 j_retried=0 j_ongoing=2 queued=3"
    redis_server.ask("SET", "arq:queue:health-check", sign, "PX", 900)

    outcome = await manage("system health --only worker --json", environ={"REDIS_URL": redis_url})

    (worker,) = outcome.json["data"]
    assert 0 == outcome.exit_code, outcome.stderr
    assert worker["detail"].endswith(" s ago: 2 running, 3 queued, 5 completed, 1 failed")


async def test_a_paused_worker_is_healthy(
    manage: Manage, redis_server: Redis, redis_url: str
) -> None:
    """The detail says that it takes no job because maintenance is on."""
    environ = {"REDIS_URL": redis_url}
    redis_server.ask("SET", "arq:queue:health-check", "j_complete=5 queued=3", "PX", 9_000)
    await manage("system maintenance on --confirm", environ=environ)

    paused = await manage("system health --only worker --json", environ=environ)
    await manage("system maintenance off --confirm", environ=environ)
    works = await manage("system health --only worker --json", environ=environ)

    assert (0, 0) == (paused.exit_code, works.exit_code)
    assert paused.json["data"][0]["detail"].endswith(" failed; takes no jobs: maintenance is on")
    assert works.json["data"][0]["detail"].endswith(" failed")


@pytest.mark.parametrize(
    ("url", "code", "health"),
    [
        ("redis://127.0.0.1:1/0", 69, "redis is down: Redis at 127.0.0.1:1 can't be reached"),
        ("http://127.0.0.1", 78, "redis is wrong: REDIS_URL can't be used"),
        ("", 78, "redis is wrong: REDIS_URL is not set"),
    ],
)
async def test_a_redis_that_fails_does_not_hide_the_others(
    manage: Manage, url: str, code: int, health: str
) -> None:
    """The exit code is 78 for a wrong setting, because waiting does not help."""
    line = "system health --only redis --only database"

    outcome = await manage(line, environ={"REDIS_URL": url})

    assert code == outcome.exit_code
    assert health in outcome.stderr
    assert "database  up" in outcome.stdout


async def test_services_are_checked_at_the_same_time_with_a_limit(
    manage_environ: dict[str, str],
) -> None:
    """Neither server answers. Both are down after one limit, not two."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        environ = {
            "DATABASE_URL": f"postgres://a:b@127.0.0.1:{port}/shop",
            "REDIS_URL": f"redis://127.0.0.1:{port}/0",
        }
        config = load_config(Path(), Project("shop"), {**manage_environ, **environ})
        after_two_limits = asyncio.create_task(asyncio.sleep(2 * 2))

        checks = await check_services(config, "test", timeout=2)

    assert after_two_limits.cancel(), "one service was checked after the other"
    assert [(name, Health.DOWN, "no answer within 2 s") for name in ("database", "redis")] == [
        (check.service, check.health, check.detail) for check in checks
    ]


async def test_before_the_first_migration_each_service_has_one_row(
    manage: Manage, new_file: Path, redis_url: str
) -> None:
    """In the usual order, and the problem is reported only once."""
    environ = {"DATABASE_URL": f"sqlite:///{new_file}", "REDIS_URL": redis_url}

    outcome = await manage("system health --json", environ=environ)

    assert [
        ("database", "behind"),
        ("migrations", "unknown"),
        ("redis", "up"),
        ("worker", "down"),
    ] == [(row["service"], row["health"]) for row in outcome.json["data"]]
    assert 1 == outcome.json["error"]["message"].count("does not exist yet")


@pytest.mark.parametrize(
    ("only", "found"),
    [
        ("", ["down", "unknown", "down", "unknown"]),
        ("--only worker --only migrations", ["down", "down"]),
    ],
)
async def test_a_service_that_could_not_be_checked_is_not_healthy(
    manage: Manage, only: str, found: list[str]
) -> None:
    """Its server is down. If the server itself is not in the list, the service is shown as down."""
    environ = {"DATABASE_URL": "postgres://a@127.0.0.1:1/x", "REDIS_URL": "redis://127.0.0.1:1/0"}

    outcome = await manage(f"system health {only} --json", environ=environ)

    assert (69, found) == (outcome.exit_code, [row["health"] for row in outcome.json["data"]])


async def test_services_that_are_not_configured_are_named(manage: Manage) -> None:
    """The message says why the worker was not checked."""
    outcome = await manage("system health", environ={"REDIS_URL": ""})

    assert 0 == outcome.exit_code
    assert "redis and worker were not checked: REDIS_URL is not set" in outcome.stdout


async def test_overdue_reviews_are_counted(manage: Manage) -> None:
    """Not those of refused runs, of runs that were reviewed, and of the last seven days."""
    user = "--reason r --generate-password"
    await manage(f"user create ada ada@example.com {user}")
    await manage(f"user create eve eve@example.com {user}")
    await manage(f"user create joe joe@example.com {user}")
    url = manage.environ["DATABASE_URL"]
    listed = (await manage("audit list --command user --json")).json["data"]
    ids = [row["run_id"] for row in listed]
    execute(url, "UPDATE oneoff_runs SET break_glass = 'fire'")
    fresh = await manage("system health --only database --json")
    execute(url, "UPDATE oneoff_runs SET started_at = '2026-01-01 00:00:00.000000'")
    execute(url, f"UPDATE oneoff_runs SET status = 'refused' WHERE id = '{ids[0]}'")
    execute(url, f"UPDATE oneoff_runs SET break_glass = '' WHERE id NOT IN {tuple(ids)}")
    await manage(f"audit review flag {ids[1]} --reason odd", environ={"OPERATOR": "grace"})

    shown = await manage("system health --only database --json")

    owe = "not reviewed: 1 run with --break-glass older than 7 days; see audit review list"
    assert "not reviewed" not in fresh.json["data"][0]["detail"]
    assert (0, True) == (shown.exit_code, shown.json["data"][0]["detail"].endswith(owe))
