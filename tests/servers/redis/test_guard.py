"""Dry runs and read-only runs can't send writes to Redis."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis

from oneoff.config.redis_url import parse_redis_url
from oneoff.core.errors import CommandError, DryRunViolation, ReadOnlyViolation
from oneoff.core.policy import Mode
from oneoff.redis.client import connect, each_primary
from oneoff.redis.guard import HARMLESS, WriteGuard, commands_in
from tests.support.redis_project import ask, fill, keys_in, keys_in_cluster
from tests.support.servers import RedisCluster

Act = Callable[[Any], Awaitable[Any]]

WRITES: dict[str, Act] = {
    "SET": lambda cache: cache.set("a", 1),
    "GETEX": lambda cache: cache.getex("a", ex=1),
    "EXPIRE": lambda cache: cache.expire("a", 10),
    "UNLINK": lambda cache: cache.execute_command("unlink", "a"),
    "SORT": lambda cache: cache.execute_command("SORT", "list", "STORE", "other"),
    "XGROUP CREATE": lambda cache: cache.execute_command("XGROUP", "CREATE", "s", "g", "$"),
    "EVAL": lambda cache: cache.eval("return redis.call('SET', 'a', 1)", 0),
    "EVALSHA": lambda cache: cache.evalsha("0" * 40, 0),
    "FCALL": lambda cache: cache.execute_command("FCALL", "f", 0),
    "FUNCTION LOAD": lambda cache: cache.execute_command("FUNCTION", "LOAD", "#!lua name=x"),
    "SCRIPT LOAD": lambda cache: cache.execute_command("SCRIPT LOAD", "return 1"),
    "SCRIPT FLUSH": lambda cache: cache.execute_command("SCRIPT", "FLUSH"),
    "CONFIG SET": lambda cache: cache.execute_command("CONFIG SET", "maxmemory", 0),
    "CONFIG RESETSTAT": lambda cache: cache.execute_command("CONFIG", "resetstat"),
    "PUBLISH": lambda cache: cache.execute_command("PUBLISH", "c", "x"),
    "SPUBLISH": lambda cache: cache.execute_command("SPUBLISH", "c", "x"),
    "FLUSHDB": lambda cache: cache.execute_command("FLUSHDB"),
    "FLUSHALL": lambda cache: cache.execute_command("FLUSHALL"),
    "SWAPDB": lambda cache: cache.execute_command("SWAPDB", 0, 1),
    "DEBUG": lambda cache: cache.execute_command("DEBUG", "SLEEP", 0),
    "SHUTDOWN": lambda cache: cache.execute_command("SHUTDOWN", "NOSAVE"),
    "CLIENT KILL": lambda cache: cache.execute_command("CLIENT", "KILL", "ID", 0),
    "MEMORY PURGE": lambda cache: cache.execute_command("MEMORY", "PURGE"),
    "NO.SUCH.COMMAND": lambda cache: cache.execute_command("NO.SUCH.COMMAND"),
}


async def in_pipeline(cache: Any) -> None:
    """Send a reading and a writing command together."""
    await cache.pipeline(transaction=False).get("a").set("a", 1).execute()


async def in_transaction(cache: Any) -> None:
    """Send both as MULTI and EXEC, after a WATCH."""
    async with cache.pipeline(transaction=True) as pipeline:
        await pipeline.watch("a")
        pipeline.multi()
        pipeline.get("a")
        pipeline.set("a", 1)
        await pipeline.execute()


async def with_a_single_connection_client(cache: Any) -> None:
    """Use a client that keeps one connection of the pool."""
    async with cache.client() as client:
        await client.set("a", 1)


async def with_a_client_of_the_same_pool(cache: Any) -> None:
    """Use another client of the pool, as libraries do that get a pool."""
    await type(cache)(connection_pool=cache.connection_pool).set("a", 1)


async def on_a_raw_connection(cache: Any) -> None:
    """Send packed bytes on a connection."""
    connection = await cache.connection_pool.get_connection()
    try:
        await connection.send_packed_command(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n")
    finally:
        await cache.connection_pool.release(connection)


async def as_a_line(cache: Any) -> None:
    """Send the command as a plain line, which servers read too."""
    connection = await cache.connection_pool.get_connection()
    try:
        await connection.send_packed_command("SET a 1\r\n")
    finally:
        await cache.connection_pool.release(connection)


WAYS: list[Act] = [
    in_pipeline,
    in_transaction,
    with_a_single_connection_client,
    with_a_client_of_the_same_pool,
    on_a_raw_connection,
    as_a_line,
]


async def violation_of(url: str, mode: Mode, act: Act) -> CommandError:
    """Run `act` in a run that must not write, swallow its error, and return the run's error."""
    raised = None
    with pytest.raises(CommandError) as ended:
        async with connect(parse_redis_url(url), mode, name="test") as cache:
            try:
                await act(cache)
            except CommandError as exc:
                raised = exc
    assert raised is ended.value
    return ended.value


@pytest.mark.parametrize("name", WRITES)
async def test_a_read_only_run_refuses_commands_that_may_write(redis_url: str, name: str) -> None:
    """The error is raised at once, and again at the end if the command swallowed it."""
    fill(redis_url, ["a"])

    error = await violation_of(redis_url, Mode.READ_ONLY, WRITES[name])

    assert isinstance(error, ReadOnlyViolation)
    assert f"a read-only run tried to send {name} to Redis, which may write" == error.message
    assert ([b"a"], b"x") == (keys_in(redis_url), ask(redis_url, "GET", "a"))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_no_way_of_sending_bypasses_the_guard(redis_url: str, way: Act) -> None:
    """Of a refused pipeline, not even the reading commands are sent."""
    fill(redis_url, ["a"])

    error = await violation_of(redis_url, Mode.READ_ONLY, way)

    assert isinstance(error, ReadOnlyViolation)
    assert b"x" == ask(redis_url, "GET", "a")


async def test_a_dry_run_that_is_rolled_back_refuses_writes_too(redis_url: str) -> None:
    """A rollback can't undo writes to Redis."""
    error = await violation_of(redis_url, Mode.ROLLBACK, WRITES["SET"])

    assert isinstance(error, DryRunViolation)
    assert [] == keys_in(redis_url)


async def test_reading_is_allowed(redis_url: str) -> None:
    """Facts about the server, scripts that can't write, and subscriptions are allowed too."""
    fill(redis_url, ["a"])

    async with connect(parse_redis_url(redis_url), Mode.READ_ONLY, name="test") as client:
        cache: Any = client
        assert b"x" == await cache.get("a")
        assert [b"x", 1] == await cache.pipeline(transaction=True).get("a").exists("a").execute()
        assert (0, [b"a"]) == await cache.scan()
        assert 1 == await cache.dbsize()
        assert b"embstr" == await cache.object("encoding", "a")
        assert await cache.memory_usage("a") > 0
        assert "redis_version" in await cache.info("server")
        assert "maxmemory" in await cache.config_get("maxmemory")
        assert 1 == await cache.execute_command("EVAL_RO", "return 1", 0)
        async with cache.pubsub() as channel:
            await channel.subscribe("news")


@pytest.mark.parametrize("way", ["key", "pipeline", "node", "primary"])
async def test_on_a_cluster_every_connection_refuses(
    redis_cluster: RedisCluster, redis_cluster_url: str, way: str
) -> None:
    """The client, a pipeline, a node, and the clients of primaries all refuse a write."""

    async def act(cache: Any) -> None:
        if way == "key":
            await cache.set("a", 1)
        elif way == "pipeline":
            await cache.pipeline().get("b").set("a", 1).execute()
        elif way == "node":
            await cache.get_node_from_key("a").execute_command("SET", "a", 1)
        else:
            async with each_primary(cache) as primaries:
                for primary in primaries:
                    await primary.set("a", 1)

    error = await violation_of(redis_cluster_url, Mode.READ_ONLY, act)

    assert isinstance(error, ReadOnlyViolation)
    assert [] == keys_in_cluster(redis_cluster)


async def test_a_real_run_has_no_guard(redis_url: str, redis_cluster_url: str) -> None:
    """It can write on a single server and on a cluster."""
    for url in (redis_url, redis_cluster_url):
        async with connect(parse_redis_url(url), Mode.COMMIT, name="test") as cache:
            assert await cache.set("a", 1)


def test_before_version_7_only_harmless_subcommands_are_allowed() -> None:
    """The server lists no subcommands, and flags MEMORY as a whole as readonly."""
    guard = WriteGuard(Mode.READ_ONLY)
    guard.learn([[b"memory", -2, [b"readonly"], 0, 0, 0], [b"get", 2, [b"readonly"], 1, 1, 1]])

    guard.check(packed("GET", "a"))
    guard.check(packed("memory", "usage", "a"))
    with pytest.raises(ReadOnlyViolation, match="MEMORY PURGE"):
        guard.check(packed("MEMORY", "PURGE"))


def test_the_server_flags_no_harmless_command_as_write(redis_url: str) -> None:
    """The list of the guard is compared with the server's own table."""
    with redis.Redis.from_url(redis_url) as client:
        client.response_callbacks.pop("COMMAND")
        send: Any = client.execute_command
        table = send("COMMAND")
    flags = {one[0]: set(one[2]) for entry in table for one in (entry, *entry[9])}

    assert len(flags) > 300
    assert [] == [name for name in HARMLESS if b"write" in flags.get(name, ())]


@pytest.mark.parametrize("sent", [b"*1\r\n$4\r\n", b"*x\r\n", b"SET a 1", b"*-1\r\n", b"*0\r\n"])
def test_bytes_that_can_not_be_read_count_as_one_unknown_command(sent: bytes) -> None:
    """The unknown command is refused."""
    guard = WriteGuard(Mode.READ_ONLY)

    assert [(b"(unreadable)", b"")] == list(commands_in(sent))
    with pytest.raises(ReadOnlyViolation):
        guard.check(sent)


def test_several_commands_in_one_message_are_separated() -> None:
    """Their arguments may contain any bytes."""
    sent = packed("GET", "*2\r\n$3\r\nSET") + packed("client", "list") + packed("ping")

    assert [(b"GET", b"*2\r\n$3\r\nSET"), (b"client", b"list"), (b"ping", b"")] == list(
        commands_in(sent)
    )


def packed(*words: str) -> bytes:
    """Pack a command as the driver does."""
    parts = (f"${len(word.encode())}\r\n{word}\r\n" for word in words)
    return (f"*{len(words)}\r\n" + "".join(parts)).encode()
