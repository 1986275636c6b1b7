"""The Redis of the worker and of the commands must be the same one."""

from __future__ import annotations

from pathlib import Path

import pytest
from arq.connections import RedisSettings

from oneoff.config.redis_url import parse_redis_url
from tests.support import arq_shop
from tests.support.arq_shop import Queue

LINES = ("jobs run sum left=1", "jobs list", "jobs run sum left=1 --inline", "config check")


@pytest.fixture
def queue(redis_url: str, tmp_path: Path) -> Queue:
    """Return the small project on an empty Redis."""
    return Queue(redis_url, tmp_path)


def set_worker(monkeypatch: pytest.MonkeyPatch, settings: object) -> None:
    """Give the worker its `redis_settings`."""
    monkeypatch.setattr(arq_shop.WorkerSettings, "redis_settings", settings, raising=False)


@pytest.mark.parametrize(
    "other", [{"database": 4}, {"port": 1}, {"host": "cache.example"}, {"unix_socket_path": "/s"}]
)
async def test_a_worker_on_another_redis_is_refused(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, other: dict[str, object]
) -> None:
    """Its jobs would wait forever. The error names both, and nothing is queued."""
    url = parse_redis_url(queue.url)
    values = {"host": url.host, "port": url.port, "database": url.db, **other}
    set_worker(monkeypatch, RedisSettings(password="p4ssw0rd-x", **values))  # type: ignore[arg-type] # noqa: S106

    done = [await queue.manage(line) for line in LINES]
    health = await queue.manage("system health --only worker --json")

    assert [78] * len(LINES) == [outcome.exit_code for outcome in done], done
    assert "error[worker-on-another-redis]: the worker uses Redis at " in done[0].stderr
    assert f", and REDIS_URL is {url.name}\n" in done[0].stderr
    assert "wrong" == health.json["data"][0]["health"]
    assert "p4ssw0rd" not in "".join(outcome.stderr + outcome.stdout for outcome in done)
    assert {} == await queue.contents()


async def test_one_redis_may_have_several_names(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names of the own machine."""
    url = parse_redis_url(queue.url)
    for host in ("localhost", "127.0.0.1", "::1"):
        set_worker(monkeypatch, RedisSettings(host=host, port=url.port, database=url.db))
        assert 0 == (await queue.manage("jobs list")).exit_code


async def test_a_worker_without_redis_settings_is_a_warning_of_config_check(queue: Queue) -> None:
    """ARQ uses localhost:6379/0 then. A worker that the application starts itself may differ."""
    checked = await queue.manage("config check")

    assert 0 == checked.exit_code
    assert "has no redis_settings; started by `arq`, it uses localhost/0" in checked.stderr
