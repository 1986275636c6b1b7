"""Whatever is wrong with Redis: which thing it is, within the timeout, and what to do."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest

from oneoff.services.cache.scan import PAGE
from oneoff.testing import Manage
from tests.support.redis_project import ask, environ_on, fill, keys_in
from tests.support.servers import Proxy, Redis
from tests.support.servers.process import HOST, free_port, hand_over, running, server_folder
from tests.support.servers.programs import find_program

CLEAR = "cache clear --prefix user: --confirm --json"
Answering = Callable[[str], AbstractAsyncContextManager[str]]


@pytest.fixture
def manage_environ(migrated_sqlite: Path, tmp_path: Path, redis_url: str) -> dict[str, str]:
    """Run `manage` on a Redis with one key."""
    fill(redis_url, ["user:1"])
    return environ_on(redis_url, migrated_sqlite, tmp_path)


@pytest.fixture
def answering() -> Answering:
    """Run a server that has one answer to everything."""

    @asynccontextmanager
    async def answering(answer: str) -> AsyncIterator[str]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                if line.startswith(b"*"):
                    writer.write(f"-{answer}\r\n".encode())
                    await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, HOST, free_port())
        async with server:
            yield f"redis://{HOST}:{server.sockets[0].getsockname()[1]}/0"

    return answering


@pytest.fixture(scope="module")
def tls_redis() -> Iterator[str]:
    """Run a Redis that takes TLS only, with a certificate it signed itself; return its URL."""
    with server_folder("redis-tls") as folder:
        port, certificate, key = free_port(), folder / "tls.crt", folder / "tls.key"
        make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=redis"
        files = ("-out", certificate, "-keyout", key)
        subprocess.run(
            [find_program("openssl"), *make.split(), *files],
            check=True,
            capture_output=True,
        )
        for file in (certificate, key):
            hand_over(file)
        settings = {
            "tls-port": str(port),
            "tls-cert-file": str(certificate),
            "tls-key-file": str(key),
            "tls-auth-clients": "no",
        }
        server = Redis(folder, settings)
        with running(server.process):
            yield server.url.replace("redis://", "rediss://").replace(str(server.port), str(port))


async def test_a_server_that_is_not_there(manage: Manage) -> None:
    """69, and the address."""
    port = free_port()

    done = await manage(CLEAR, environ={"REDIS_URL": f"redis://{HOST}:{port}/0"})

    assert (69, "redis-unreachable") == (done.exit_code, done.json["error"]["code"])
    assert f"Redis at {HOST}:{port} can't be reached" in done.json["error"]["message"]


@pytest.mark.parametrize("how", ["delay", "half-open"])
async def test_a_server_that_is_slow(
    manage: Manage, redis_url: str, redis_proxy: Proxy, how: str
) -> None:
    """It has its timeout and no more; nothing is done."""
    redis_proxy.half_open() if how == "half-open" else redis_proxy.delay(5)
    started = monotonic()

    done = await manage(
        CLEAR, environ={"REDIS_URL": redis_proxy.url(redis_url), "REDIS_TIMEOUT": "1"}
    )

    assert (69, "redis-slow") == (done.exit_code, done.json["error"]["code"])
    assert "did not answer within 1 s" in done.json["error"]["message"]
    assert monotonic() - started < 4
    assert [b"user:1"] == keys_in(redis_url)


async def test_a_server_that_falls_silent_in_the_middle(
    manage: Manage, redis_url: str, redis_proxy: Proxy
) -> None:
    """The next answer does not come in time: 69, and the log says how much was removed before."""
    fill(redis_url, (f"user:{number}" for number in range(50_000)))
    environ = {"REDIS_URL": redis_proxy.url(redis_url), "REDIS_TIMEOUT": "1"}

    clearing = asyncio.create_task(manage(CLEAR, environ=environ))
    while ask(redis_url, "DBSIZE") == 50_000:  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0)
    redis_proxy.half_open()
    silent = monotonic()
    done = await clearing

    assert (69, "redis-slow") == (done.exit_code, done.json["error"]["code"])
    assert monotonic() - silent < 4
    [gone] = [
        json.loads(line)["keys"]
        for line in done.stderr.splitlines()
        if "cache.clearing_stopped" in line
    ]
    assert 0 < gone <= 50_000 - len(keys_in(redis_url)) <= gone + 2 * PAGE


async def test_a_connection_that_is_reset(
    manage: Manage, redis_url: str, redis_proxy: Proxy
) -> None:
    """69: a retry may find it well."""
    redis_proxy.refuse()

    done = await manage(CLEAR, environ={"REDIS_URL": redis_proxy.url(redis_url)})

    assert (69, "redis-unreachable") == (done.exit_code, done.json["error"]["code"])


@pytest.mark.parametrize(
    ("login", "says"),
    [
        ("", "it requires a password"),
        (":wrong-password@", "the user or the password is wrong"),
        ("nobody:wrong-password@", "the user or the password is wrong"),
    ],
)
async def test_a_wrong_login(manage: Manage, redis_url: str, login: str, says: str) -> None:
    """78; and the password is not repeated."""
    url = f"redis://{login}{redis_url.rpartition('@')[2]}"

    done = await manage(CLEAR, environ={"REDIS_URL": url})

    assert (78, "bad-redis-login") == (done.exit_code, done.json["error"]["code"])
    assert done.json["error"]["message"].endswith(f"refused the connection: {says}")
    assert "wrong-password" not in done.stdout + done.stderr


async def test_a_database_that_is_not_there(
    manage: Manage, redis_url: str, redis_cluster_url: str
) -> None:
    """A number too high, and any but 0 on a cluster."""
    for url in (redis_url.removesuffix("0") + "99", redis_cluster_url.removesuffix("0") + "1"):
        done = await manage(CLEAR, environ={"REDIS_URL": url})
        assert (78, "bad-redis-url") == (done.exit_code, done.json["error"]["code"])


async def test_a_user_without_the_permission(manage: Manage, redis_url: str) -> None:
    """78, and the command that is not allowed; reading goes on."""
    ask(redis_url, "ACL", "SETUSER", "reader", "on", ">reader-pw", "~*", "+@all", "-@write")
    url = f"redis://reader:reader-pw@{redis_url.rpartition('@')[2]}"
    try:
        preview = await manage("cache clear --prefix user: --dry-run", environ={"REDIS_URL": url})
        done = await manage(CLEAR, environ={"REDIS_URL": url})
    finally:
        ask(redis_url, "ACL", "DELUSER", "reader")

    assert (0, 1) == (preview.exit_code, preview.rows)
    assert (78, "redis-permission-denied") == (done.exit_code, done.json["error"]["code"])
    assert "'unlink'" in done.json["error"]["message"]


async def test_a_server_that_does_not_say_what_it_is(manage: Manage) -> None:
    """Older than version 6 it has no HELLO, and its user may not ask for INFO: one server."""
    with server_folder("redis-old") as folder:
        server = Redis(folder, {"rename-command": 'HELLO ""'})
        with running(server.process):
            server.ask(*"ACL SETUSER plain on >plain-pw ~* +@all -info".split())
            fill(server.url, ["user:1", "user:2"])
            asked = await manage(CLEAR, environ={"REDIS_URL": server.url})
            fill(server.url, ["user:1"])
            plain = f"redis://plain:plain-pw@{HOST}:{server.port}/0"
            unasked = await manage(CLEAR, environ={"REDIS_URL": plain})

    assert (0, 2) == (asked.exit_code, asked.rows)
    assert (0, 1) == (unasked.exit_code, unasked.rows)


async def test_a_replica_takes_no_writes(manage: Manage, redis_server: Redis) -> None:
    """78, not a retry: waiting does not make it the primary."""
    with server_folder("redis-replica") as folder:
        settings = {
            "replicaof": f"{HOST} {redis_server.port}",
            "masterauth": f'"{redis_server.password}"',
        }
        replica = Redis(folder, settings)
        with running(replica.process):
            done = await manage("cache warm --json", environ={"REDIS_URL": replica.url})

    assert (78, "redis-replica") == (done.exit_code, done.json["error"]["code"])


@pytest.mark.parametrize(
    ("answer", "exit_code", "code"),
    [
        ("LOADING Redis is loading the dataset in memory", 69, "redis-busy"),
        ("MASTERDOWN Link with MASTER is down", 69, "redis-busy"),
        ("BUSY Redis is busy running a script", 69, "redis-busy"),
        ("MISCONF Redis is configured to save RDB snapshots", 69, "redis-busy"),
        ("CLUSTERDOWN Hash slot not served", 69, "redis-busy"),
        ("OOM command not allowed when used memory > 'maxmemory'", 75, "redis-out-of-memory"),
        ("ERR max number of clients reached", 69, "redis-unreachable"),
        ("DENIED Redis is running in protected mode", 1, "redis-error"),
    ],
)
async def test_a_server_that_can_not_serve_now(
    manage: Manage, answering: Answering, answer: str, exit_code: int, code: str
) -> None:
    """What a retry may mend is told from what it won't."""
    async with answering(answer) as url:
        done = await manage(CLEAR, environ={"REDIS_URL": url})

    assert (exit_code, code) == (done.exit_code, done.json["error"]["code"])


async def test_a_certificate_nobody_trusts(manage: Manage, tls_redis: str) -> None:
    """78 until the setting says that it may be; then it works."""
    refused = await manage(CLEAR, environ={"REDIS_URL": tls_redis})
    taken = await manage(
        CLEAR, environ={"REDIS_URL": tls_redis, "REDIS_VERIFY_CERTIFICATE": "false"}
    )

    assert (78, "bad-redis-tls") == (refused.exit_code, refused.json["error"]["code"])
    assert refused.json["error"]["try"][0].startswith("set REDIS_VERIFY_CERTIFICATE=false")
    assert 0 == taken.exit_code, taken.stderr


async def test_no_tls_where_the_server_wants_it(manage: Manage, tls_redis: str) -> None:
    """The server hangs up; the message says what that may mean."""
    url = tls_redis.replace("rediss://", "redis://")

    done = await manage(CLEAR, environ={"REDIS_URL": url})

    assert 69 == done.exit_code
    assert any("rediss://" in line for line in done.json["error"]["try"]), done.stdout


async def test_tls_where_the_server_has_none(manage: Manage, redis_url: str) -> None:
    """Within the timeout, whatever the server makes of it."""
    url = redis_url.replace("redis://", "rediss://")

    done = await manage(CLEAR, environ={"REDIS_URL": url, "REDIS_TIMEOUT": "1"})

    assert done.exit_code in {69, 78}
    assert any("redis:// instead" in line for line in done.json["error"]["try"])


async def test_what_is_not_redis_is_not_translated() -> None:
    """Another error keeps its own account."""
    from oneoff.redis.errors import translate_redis_error

    assert translate_redis_error(ssl.SSLError("elsewhere")) is None
    assert translate_redis_error(ValueError("a bug")) is None


async def test_without_redis_url_it_says_what_to_set(manage: Manage) -> None:
    """78."""
    done = await manage(CLEAR, environ={"REDIS_URL": ""})

    assert (78, "redis-not-configured") == (done.exit_code, done.json["error"]["code"])
