"""The servers that all other tests run against."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.support.servers import Postgres, Redis, programs
from tests.support.servers.process import ServerError

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 30  # seconds

# SIGINT is ignored in what a shell starts in the background, test runs included; and one that comes
# between the last statement and signal.pause() would not end the latter.
STARTS_ALL_THREE = """\
import asyncio, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from tests.support.servers import running_pgbouncer, running_postgres, running_redis
with running_postgres() as server, running_pgbouncer(server) as pooler, running_redis() as redis:
    print(server.port, pooler.port, redis.port, server.folder, flush=True)
    asyncio.run(asyncio.Event().wait())
"""


@pytest.fixture
def other_run() -> Iterator[subprocess.Popen[str]]:
    """Start another process that runs servers; it has printed their ports and a folder."""
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_ALL_THREE],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        yield process
        process.kill()


def is_listening(port: int) -> bool:
    """Say whether somebody accepts connections on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def gone_in_time(ports: list[int], folder: Path) -> bool:
    """Wait until nobody listens and nothing is left on disk; say whether it came to that."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if not folder.exists() and not any(map(is_listening, ports)):
            return True
        time.sleep(0.05)
    return False


async def test_a_url_opens_an_empty_database(postgres_url: str) -> None:
    """The password is percent-encoded in the URL, and no table is there."""
    connection = await asyncpg.connect(postgres_url)
    tables = await connection.fetch("SELECT * FROM pg_tables WHERE schemaname = 'public'")
    await connection.close()

    assert "p%40ss%25word" in postgres_url
    assert [] == tables


async def test_a_database_is_dropped_though_somebody_is_connected(
    postgres_server: Postgres,
) -> None:
    """A test that leaves a connection open leaves no database."""
    with postgres_server.database() as name:
        connection = await asyncpg.connect(postgres_server.url(name))
    connection.terminate()

    assert name not in postgres_server.psql("SELECT datname FROM pg_database").splitlines()


def test_a_database_can_be_copied_from_a_template(postgres_server: Postgres) -> None:
    """What was prepared once is there in each copy."""
    with postgres_server.database() as template:
        postgres_server.psql("CREATE TABLE prepared AS SELECT 42 AS answer", template)
        with postgres_server.database(template) as copy:
            assert "42" == postgres_server.psql("SELECT answer FROM prepared", copy)


def test_a_failed_statement_is_an_error(postgres_server: Postgres) -> None:
    """A test's preparations can't fail unseen."""
    with pytest.raises(ServerError, match='relation "nothing" does not exist'):
        postgres_server.psql("SELECT * FROM nothing; SELECT 1")


async def test_the_pooler_hands_one_server_connection_to_many_clients(
    postgres_server: Postgres, postgres_url: str, pgbouncer_url: str
) -> None:
    """Transaction mode: two clients that take turns share a backend, on the same database."""
    clients = [
        await asyncpg.connect(pgbouncer_url, statement_cache_size=0),
        await asyncpg.connect(pgbouncer_url, statement_cache_size=0),
    ]
    backends = {await client.fetchval("SELECT pg_backend_pid()") for client in clients}
    databases = {await client.fetchval("SELECT current_database()") for client in clients}
    for client in clients:
        await client.close()

    assert 1 == len(backends)
    assert {urlsplit(postgres_url).path.removeprefix("/")} == databases


async def test_an_immediate_restart_breaks_connections_and_keeps_what_was_committed(
    postgres_server: Postgres, postgres_url: str
) -> None:
    """It is a crash, and the port stays the same."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE TABLE kept AS SELECT 7 AS number")

    postgres_server.restart("immediate")

    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.fetchval("SELECT 1")
    connection.terminate()
    again = await asyncpg.connect(postgres_url)
    assert 7 == await again.fetchval("SELECT number FROM kept")
    await again.close()


def test_redis_wants_the_password_of_its_url(redis_server: Redis) -> None:
    """The URL holds it percent-encoded; without it the server refuses."""
    with socket.create_connection(("127.0.0.1", redis_server.port)) as connection:
        connection.sendall(b"GET key\r\n")
        refused = connection.recv(64)
        connection.sendall(f"AUTH {redis_server.password}\r\n".encode())
        accepted = connection.recv(64)

    assert "p%40ss%25word" in redis_server.url
    assert b"-NOAUTH" == refused[:7]
    assert b"+OK\r\n" == accepted


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_servers_end_with_the_process_that_started_them(
    other_run: subprocess.Popen[str], signum: signal.Signals
) -> None:
    """Interrupted, terminated or killed: no server and no file is left."""
    assert other_run.stdout is not None
    *ports, folder = other_run.stdout.readline().split()
    assert all(is_listening(int(port)) for port in ports)

    other_run.send_signal(signum)

    assert gone_in_time([int(port) for port in ports], Path(folder))


def test_a_server_that_is_not_installed_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The message says what to install, on Debian and on macOS."""
    monkeypatch.setattr(programs, "POSTGRES_FOLDERS", ())
    monkeypatch.setattr(programs, "SYSTEM_FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(programs.ProgramMissingError, match=r"apt-get install postgresql .*brew"):
        programs.find_program("initdb")

    packages = ["postgresql", "redis-server", "pgbouncer", "openssl", "kubernetes-client"]
    assert packages == programs.missing_packages()


def test_the_newest_postgresql_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Version 16 wins over 9.6 and 15, which sort after it as text or stand before it."""
    for version in ("9.6", "15", "16"):
        program = tmp_path / version / "bin" / "initdb"
        program.parent.mkdir(parents=True)
        program.write_text("")
        program.chmod(0o755)
    monkeypatch.setattr(programs, "POSTGRES_FOLDERS", (f"{tmp_path}/*/bin",))
    monkeypatch.setenv("PATH", os.devnull)

    assert tmp_path / "16" / "bin" / "initdb" == programs.find_program("initdb")
