"""Errors of Redis name the cause and what to do, and appear within the timeout."""

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

LONG = 30
"""Seconds until a slow server answers: longer than a busy machine needs for a timeout of 1 s."""
CLEAR = "cache clear --prefix user: --confirm --json"
Answering = Callable[[str], AbstractAsyncContextManager[str]]


@pytest.fixture
def manage_environ(migrated_sqlite: Path, tmp_path: Path, redis_url: str) -> dict[str, str]:
    """Run `manage` on a Redis with one key."""
    fill(redis_url, ["user:1"])
    return environ_on(redis_url, migrated_sqlite, tmp_path)


@pytest.fixture
def answering() -> Answering:
    """Run a server that gives the same answer to each command."""

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
    """Run a Redis that requires TLS, with a self-signed certificate; return its URL."""
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


async def test_a_server_that_does_not_run_is_unreachable(manage: Manage) -> None:
    """The exit code is 69, and the message contains the address."""
    port = free_port()

    done = await manage(CLEAR, environ={"REDIS_URL": f"redis://{HOST}:{port}/0"})

    assert (69, "redis-unreachable") == (done.exit_code, done.json["error"]["code"])
    assert f"Redis at {HOST}:{port} can't be reached" in done.json["error"]["message"]


@pytest.mark.parametrize("how", ["delay", "half-open"])
async def test_a_slow_server_fails_the_run_after_the_timeout(
    manage: Manage, redis_url: str, redis_proxy: Proxy, how: str
) -> None:
    """Nothing is deleted."""
    redis_proxy.half_open() if how == "half-open" else redis_proxy.delay(LONG)
    started = monotonic()

    done = await manage(
        CLEAR, environ={"REDIS_URL": redis_proxy.url(redis_url), "REDIS_TIMEOUT": "1"}
    )

    assert (69, "redis-slow") == (done.exit_code, done.json["error"]["code"])
    assert "did not answer within 1 s" in done.json["error"]["message"]
    assert monotonic() - started < LONG
    assert [b"user:1"] == keys_in(redis_url)


async def test_a_server_that_stops_answering_fails_the_run_after_the_timeout(
    manage: Manage, redis_url: str, redis_proxy: Proxy
) -> None:
    """The exit code is 69, and the log says how many keys were deleted before."""
    fill(redis_url, (f"user:{number}" for number in range(50_000)))
    environ = {"REDIS_URL": redis_proxy.url(redis_url), "REDIS_TIMEOUT": "1"}

    clearing = asyncio.create_task(manage(CLEAR, environ=environ))
    # At most two pages are on their way, so the answer to the first one has arrived.
    while ask(redis_url, "DBSIZE") > 50_000 - 3 * PAGE:  # noqa: ASYNC110 - the server sends no event
        await asyncio.sleep(0)
    redis_proxy.half_open()
    silent = monotonic()
    done = await clearing

    assert (69, "redis-slow") == (done.exit_code, done.json["error"]["code"])
    assert monotonic() - silent < LONG
    [gone] = [
        json.loads(line)["keys"]
        for line in done.stderr.splitlines()
        if "cache.clearing_stopped" in line
    ]
    assert 0 < gone <= 50_000 - len(keys_in(redis_url)) <= gone + 2 * PAGE


async def test_a_connection_that_is_reset_is_unreachable(
    manage: Manage, redis_url: str, redis_proxy: Proxy
) -> None:
    """The exit code is 69, because a retry may help."""
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
async def test_a_wrong_login_is_a_configuration_error(
    manage: Manage, redis_url: str, login: str, says: str
) -> None:
    """The exit code is 78, and the password is not shown."""
    url = f"redis://{login}{redis_url.rpartition('@')[2]}"

    done = await manage(CLEAR, environ={"REDIS_URL": url})

    assert (78, "bad-redis-login") == (done.exit_code, done.json["error"]["code"])
    assert done.json["error"]["message"].endswith(f"refused the connection: {says}")
    assert "wrong-password" not in done.stdout + done.stderr


async def test_a_database_that_does_not_exist_is_a_configuration_error(
    manage: Manage, redis_url: str, redis_cluster_url: str
) -> None:
    """The number is too high, or is not 0 on a cluster."""
    for url in (redis_url.removesuffix("0") + "99", redis_cluster_url.removesuffix("0") + "1"):
        done = await manage(CLEAR, environ={"REDIS_URL": url})
        assert (78, "bad-redis-url") == (done.exit_code, done.json["error"]["code"])


async def test_a_missing_permission_is_a_configuration_error(
    manage: Manage, redis_url: str
) -> None:
    """The exit code is 78, and the message names the command; a dry run still works."""
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


async def test_a_server_that_does_not_report_its_mode_counts_as_a_single_server(
    manage: Manage,
) -> None:
    """Before version 6 it has no HELLO, and the user may have no permission for INFO."""
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


async def test_a_write_to_a_replica_is_a_configuration_error(
    manage: Manage, redis_server: Redis
) -> None:
    """The exit code is 78: a retry does not make the replica a primary."""
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
async def test_each_answer_of_a_server_that_can_not_serve_has_its_exit_code(
    manage: Manage, answering: Answering, answer: str, exit_code: int, code: str
) -> None:
    """The exit code shows whether a retry may help."""
    async with answering(answer) as url:
        done = await manage(CLEAR, environ={"REDIS_URL": url})

    assert (exit_code, code) == (done.exit_code, done.json["error"]["code"])


async def test_an_untrusted_certificate_is_a_configuration_error(
    manage: Manage, tls_redis: str
) -> None:
    """The exit code is 78, unless a setting allows such a certificate."""
    refused = await manage(CLEAR, environ={"REDIS_URL": tls_redis})
    taken = await manage(
        CLEAR, environ={"REDIS_URL": tls_redis, "REDIS_VERIFY_CERTIFICATE": "false"}
    )

    assert (78, "bad-redis-tls") == (refused.exit_code, refused.json["error"]["code"])
    assert refused.json["error"]["try"][0].startswith("set REDIS_VERIFY_CERTIFICATE=false")
    assert 0 == taken.exit_code, taken.stderr


async def test_without_tls_the_advice_for_a_server_that_requires_it_is_to_use_it(
    manage: Manage, tls_redis: str
) -> None:
    """The server closes the connection; the advice names the likely reason."""
    url = tls_redis.replace("rediss://", "redis://")

    done = await manage(CLEAR, environ={"REDIS_URL": url})

    assert 69 == done.exit_code
    assert any("rediss://" in line for line in done.json["error"]["try"]), done.stdout


async def test_with_tls_the_advice_for_a_server_without_it_is_not_to_use_it(
    manage: Manage, redis_url: str
) -> None:
    """The error appears within the timeout."""
    url = redis_url.replace("redis://", "rediss://")

    done = await manage(CLEAR, environ={"REDIS_URL": url, "REDIS_TIMEOUT": "1"})

    assert done.exit_code in {69, 78}
    assert any("redis:// instead" in line for line in done.json["error"]["try"])


async def test_an_error_that_redis_did_not_raise_is_not_translated() -> None:
    """Other code translates it."""
    from oneoff.redis.errors import translate_redis_error

    assert translate_redis_error(ssl.SSLError("elsewhere")) is None
    assert translate_redis_error(ValueError("a bug")) is None


async def test_without_redis_url_the_error_code_is_redis_not_configured(manage: Manage) -> None:
    """The exit code is 78."""
    done = await manage(CLEAR, environ={"REDIS_URL": ""})

    assert (78, "redis-not-configured") == (done.exit_code, done.json["error"]["code"])
