"""Dry runs and read-only runs can't write to Redis through other clients."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import arq
import pytest
import redis
from arq.connections import RedisSettings
from redis.asyncio import Redis, RedisCluster

from oneoff.config.redis_url import parse_redis_url
from oneoff.core.errors import CommandError, DryRunViolation, ReadOnlyViolation
from oneoff.core.policy import Mode
from oneoff.redis import other_clients
from oneoff.redis.client import connect
from oneoff.redis.other_clients import READS, read_only_clients
from oneoff.services.maintenance.redis_copy import RedisCopy
from tests.support.redis_project import ask, fill, keys_in, keys_in_cluster
from tests.support.servers import RedisCluster as Cluster

Act = Callable[[str], Awaitable[Any]]


async def with_a_client(url: str) -> None:
    """Use a client made from a URL, as services do."""
    async with Redis.from_url(url) as client:
        await client.set("a", 1)


async def with_a_blocking_client(url: str) -> None:
    """Use a blocking client."""
    with redis.Redis.from_url(url) as client:
        client.set("a", 1)


async def with_a_pipeline(url: str) -> None:
    """Send a reading and a writing command in one transaction."""
    async with Redis.from_url(url) as client:
        pipeline: Any = client.pipeline(transaction=True)
        await pipeline.get("a").set("a", 1).execute()


async def with_a_blocking_pipeline(url: str) -> None:
    """Use a pipeline of a blocking client."""
    with redis.Redis.from_url(url) as client:
        pipeline: Any = client.pipeline(transaction=False)
        pipeline.get("a").set("a", 1).execute()


async def with_a_script(url: str) -> None:
    """Let the server write in a script."""
    client: Any = Redis.from_url(url)
    async with client:
        await client.eval("return redis.call('SET', 'a', 1)", 0)


async def with_the_settings_of_the_cache(url: str) -> None:
    """Make a client with the settings of the run's own client."""
    async with connect(parse_redis_url(url), Mode.READ_ONLY, name="test") as cache:
        given = cache.connection_pool.connection_kwargs
        async with Redis(**given) as client:
            await client.set("a", 1)


async def in_a_task(url: str) -> None:
    """Write in another task."""
    await asyncio.create_task(with_a_client(url))


async def in_a_thread(url: str) -> None:
    """Write in a thread with the run's context."""
    await asyncio.to_thread(asyncio.run, with_a_blocking_client(url))


async def by_enqueueing(url: str) -> None:
    """Queue a job with ARQ, as a service of the web process does."""
    given = parse_redis_url(url)
    settings = RedisSettings(given.host, given.port, password=given.password)
    pool = await arq.create_pool(settings)
    try:
        await pool.enqueue_job("greet", "ada")
    finally:
        await pool.aclose()


WAYS: list[Act] = [
    with_a_client,
    with_a_blocking_client,
    with_a_pipeline,
    with_a_blocking_pipeline,
    with_a_script,
    with_the_settings_of_the_cache,
    in_a_task,
    in_a_thread,
    by_enqueueing,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize(
    ("mode", "kind"), [(Mode.READ_ONLY, ReadOnlyViolation), (Mode.ROLLBACK, DryRunViolation)]
)
async def test_no_client_can_write(
    redis_url: str, mode: Mode, kind: type[CommandError], way: Act
) -> None:
    """The error is raised at once, and stored even if the command swallows it."""
    with read_only_clients(mode) as protection, pytest.raises(kind) as caught:
        await way(redis_url)

    assert caught.value is protection.refused
    assert [] == keys_in(redis_url)


async def test_the_error_names_the_command_and_the_server(redis_url: str) -> None:
    """It shows no password."""
    with read_only_clients(Mode.READ_ONLY) as protection, suppress(CommandError):
        await with_a_client(redis_url)

    url = parse_redis_url(redis_url)
    assert protection.refused
    assert (
        f"the run tried to send SET to Redis at {url.host}:{url.port} through another client"
        == protection.refused.message
    )


async def test_all_clients_can_read(redis_url: str) -> None:
    """They may be opened before or during the run; subscriptions work too."""
    fill(redis_url, ["a"])
    async with Redis.from_url(redis_url) as earlier:
        await earlier.ping()
        with read_only_clients(Mode.READ_ONLY) as protection:
            assert b"x" == await earlier.get("a")
            client: Any = Redis.from_url(redis_url, protocol=3, client_name="web")
            async with client:
                assert [b"x", 1] == await client.pipeline().get("a").exists("a").execute()
                assert "redis_version" in await client.info("server")
                assert "embstr" == (await client.object("encoding", "a")).decode()
                async with client.pubsub() as channel:
                    await channel.subscribe("news")
            with redis.Redis.from_url(redis_url, health_check_interval=1) as blocking:
                assert [b"a"] == list(blocking.scan_iter())

    assert protection.refused is None


async def test_clients_can_write_after_the_run(redis_url: str) -> None:
    """A client whose write was refused can write on the same connection."""
    async with Redis.from_url(redis_url) as client:
        with read_only_clients(Mode.ROLLBACK):
            for _ in range(2):
                with pytest.raises(DryRunViolation):
                    await client.set("a", 1)
            assert await client.get("a") is None
        await client.set("a", "x")

    assert b"x" == ask(redis_url, "GET", "a")


async def test_tasks_outside_of_the_run_can_write(redis_url: str) -> None:
    """If a web request calls a command, other requests can still write."""
    start = asyncio.Event()

    async def request() -> None:
        await start.wait()
        await with_a_client(redis_url)

    other = asyncio.create_task(request())
    with read_only_clients(Mode.ROLLBACK) as protection:
        start.set()
        await other

    assert ([b"a"], None) == (keys_in(redis_url), protection.refused)


@pytest.mark.parametrize(("process_wide", "keys"), [(True, []), (False, [b"a"])])
def test_a_thread_without_the_runs_context_is_protected_if_process_wide(
    redis_url: str, *, process_wide: bool, keys: list[bytes]
) -> None:
    """The protection of threads is right only if the process does nothing else."""

    def write() -> None:
        with suppress(CommandError):
            asyncio.run(with_a_blocking_client(redis_url))

    with read_only_clients(Mode.ROLLBACK, process_wide=process_wide) as protection:
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()

    assert (keys, process_wide) == (keys_in(redis_url), protection.refused is not None)


async def test_the_runs_own_client_is_checked_only_by_its_guard(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard asked the server, so it may know more reading commands than the list."""
    monkeypatch.setattr(other_clients, "_ALLOWED", frozenset[bytes]())
    with read_only_clients(Mode.READ_ONLY) as protection:
        async with connect(parse_redis_url(redis_url), Mode.READ_ONLY, name="test") as cache:
            assert 0 == await cache.dbsize()

    assert protection.refused is None


async def test_the_copy_of_a_maintenance_window_can_be_written(redis_url: str) -> None:
    """For example, a run may test a web application, which reads the maintenance window."""
    copy = RedisCopy(parse_redis_url(redis_url), "copy", limit=5)
    with read_only_clients(Mode.READ_ONLY):
        await copy.write(None)
        await copy.aclose()

    assert [b"copy"] == keys_in(redis_url)


async def test_no_node_of_a_cluster_can_be_written(
    redis_cluster: Cluster, redis_cluster_url: str
) -> None:
    """All nodes can be read."""
    make: Any = RedisCluster
    async with make.from_url(redis_cluster_url) as client:
        with read_only_clients(Mode.ROLLBACK) as protection:
            assert await client.get("a") is None
            with pytest.raises(DryRunViolation):
                await client.set("a", 1)

    assert protection.refused
    assert [] == keys_in_cluster(redis_cluster)


LATER = """
import asyncio, sys
from oneoff.core.policy import Mode
from oneoff.redis.other_clients import read_only_clients

with read_only_clients(Mode.READ_ONLY) as protection:
    assert "redis" not in sys.modules
    import redis, redis.asyncio
    for write in (
        lambda: redis.Redis.from_url(sys.argv[1]).set("a", 1),
        lambda: asyncio.run(redis.asyncio.Redis.from_url(sys.argv[1]).set("a", 1)),
    ):
        try:
            write()
        except Exception as exc:
            print(type(exc).__name__)
print(protection.refused.code)
"""


def test_a_driver_that_is_imported_during_the_run_is_checked_too(redis_url: str) -> None:
    """The protection itself imports no driver."""
    done = subprocess.run(
        [sys.executable, "-c", LATER, redis_url], capture_output=True, text=True, check=False
    )

    assert ["ReadOnlyViolation", "ReadOnlyViolation", "read-only"] == done.stdout.split(), done


def test_the_server_flags_the_same_commands_as_readonly(redis_url: str) -> None:
    """The list and the server's own table are compared in both directions."""
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        client.response_callbacks.pop("COMMAND")
        send: Any = client.execute_command
        flags = {entry[0]: set(entry[2]) for entry in send("COMMAND")}
    reading = {name for name, own in flags.items() if b"readonly" in own and b"write" not in own}

    assert len(reading) > 80
    assert [] == sorted(reading - READS - {b"memory", b"object", b"xinfo"})
    assert [] == sorted((READS & set(flags)) - reading)
