"""Maintenance windows with four processes of a real server, and unavailable services."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from oneoff.config.redis_url import parse_redis_url
from oneoff.services.maintenance import STALE_LIMIT
from tests.acceptance.conftest import ROOT, AtHead, Run
from tests.support.servers import Postgres, Redis
from tests.support.servers.process import HOST, free_port
from tests.support.servers.proxy import Proxy, proxying
from tests.support.web import running_web

WORKERS = 4
PATIENCE = 60
KEY = "k" * 32
APP = """
import os
from pathlib import Path

from oneoff import Project
from oneoff.integrations.asgi.maintenance import MaintenanceMiddleware
from oneoff.config.settings import load_config
from oneoff.services.maintenance.reader import MaintenanceReader


async def served(scope, receive, send):
    if scope["type"] == "lifespan":
        for what in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{what}.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"served"})


class NameProcess:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def named(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-pid", str(os.getpid()).encode())]
            await send(message)

        await self.app(scope, receive, named)


project = Project("shop", commands=())
reader = MaintenanceReader(load_config(Path.cwd(), project))
app = NameProcess(MaintenanceMiddleware(served, reader=reader))
"""


class Answer:
    """The response of one process."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.body = response.read()
        self.status = response.status
        self.pid = int(response.headers["x-pid"])
        self.retry_after = response.headers.get("retry-after")


class ServerProcesses:
    """The processes of one server, each behind a connection that is kept open."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connections: dict[int, http.client.HTTPConnection] = {}

    def meet(self) -> None:
        """Open connections until each process has one."""
        deadline = time.monotonic() + PATIENCE
        spare = []
        while len(self._connections) < WORKERS:
            assert time.monotonic() < deadline, f"met {len(self._connections)} processes"
            connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
            try:
                pid = _get(connection, "/").pid
            except OSError:  # it does not listen yet
                time.sleep(0.05)
                continue
            if pid in self._connections:
                spare.append(connection)
            else:
                self._connections[pid] = connection
        for connection in spare:
            connection.close()

    def ask(self, path: str = "/", **headers: str) -> list[Answer]:
        """Send one request to every process."""
        answers = []
        for pid, connection in self._connections.items():
            answers.append(_get(connection, path, **headers))
            assert pid == answers[-1].pid
        return answers

    def statuses(self, path: str = "/", **headers: str) -> set[int]:
        """Return the statuses of their responses."""
        return {answer.status for answer in self.ask(path, **headers)}

    def wait_for(self, status: int) -> None:
        """Send requests until every process returns this status."""
        deadline = time.monotonic() + PATIENCE
        while self.statuses() != {status}:
            assert time.monotonic() < deadline, f"not all processes said {status}"
            time.sleep(0.01)

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            connection.close()


def _get(connection: http.client.HTTPConnection, path: str, **headers: str) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", path, headers=names)
    return Answer(connection.getresponse())


@contextmanager
def serving(folder: Path, environ: Mapping[str, str]) -> Iterator[ServerProcesses]:
    """Run uvicorn with four workers."""
    (folder / "processes.py").write_text(APP)
    port = free_port()
    words = f"processes:app --host {HOST} --port {port} --workers {WORKERS} --no-access-log"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", *words.split(), "--timeout-keep-alive=120"],
            cwd=folder,
            env={**environ, "PYTHONPATH": f"{folder}:{ROOT}"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    processes = ServerProcesses(port)
    try:
        processes.meet()
        yield processes
    finally:
        processes.close()
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            sys.stdout.write((folder / "log").read_text())


@pytest.fixture
def proxies(
    postgres_server: Postgres,
    postgres_url: str,
    redis_server: Redis,
    redis_url: str,
    environ: dict[str, str],
) -> Iterator[tuple[Proxy, Proxy]]:
    """Put proxies between the processes of the test and PostgreSQL and Redis."""
    redis_port = parse_redis_url(redis_url).port
    with proxying(postgres_server.port) as database, proxying(redis_port) as redis:
        environ |= {
            "DATABASE_URL": database.url(postgres_url),
            "REDIS_URL": redis.url(redis_url),
            "SECRET_KEY": KEY,
            "ENVIRONMENT": "test",
        }
        yield database, redis


def test_all_processes_follow_the_maintenance_window(
    run: Run, tmp_path: Path, environ: dict[str, str], proxies: tuple[Proxy, Proxy]
) -> None:
    """On and off, also without Redis, and unchanged without both services.

    One server for all steps: starting four processes takes longer than the steps. That a change is
    noticed within `STALE_LIMIT` is tested with a clock, in `test_reader.py`.
    """
    database, redis = proxies

    def switch(line: str) -> str:
        done = run([*line.split(), "--json"])
        assert 0 == done.returncode, done.stderr
        data = json.loads(done.stdout)["data"]
        return data.get("pass", "") if isinstance(data, dict) else ""

    switch("migrate")
    with serving(tmp_path, environ) as processes:
        earlier = check_with_all_services(processes, switch)
        redis.refuse()
        check_without_redis(processes, switch, earlier)
        database.refuse()
        check_without_services(processes)
        database.heal()
        switch("system maintenance off --confirm")
        processes.wait_for(200)


def check_with_all_services(processes: ServerProcesses, switch: Callable[[str], str]) -> str:
    """Switch on and off; probes and requests with the pass are served. Return the pass."""
    assert {200} == processes.statuses()
    given = switch("system maintenance on --expires 2h --confirm")
    processes.wait_for(503)
    assert {True} == {7100 < int(answer.retry_after or 0) <= 7200 for answer in processes.ask()}
    assert {200} == processes.statuses("/health/live")
    assert {200} == processes.statuses(x_maintenance_bypass=given)
    switch("system maintenance off --confirm")
    processes.wait_for(200)
    return given


def check_without_redis(
    processes: ServerProcesses, switch: Callable[[str], str], earlier: str
) -> None:
    """Switch on while Redis is down; the pass of the earlier window is refused."""
    given = switch("system maintenance on --confirm")
    processes.wait_for(503)
    assert {503} == processes.statuses(x_maintenance_bypass=earlier)
    assert {200} == processes.statuses(x_maintenance_bypass=given)
    assert {"60"} == {answer.retry_after for answer in processes.ask()}


def check_without_services(processes: ServerProcesses) -> None:
    """Check that requests are refused while both services are down, for twice STALE_LIMIT."""
    end = time.monotonic() + 2 * STALE_LIMIT
    while time.monotonic() < end:
        assert {503} == processes.statuses()
        time.sleep(0.05)
    assert {200} == processes.statuses("/health/live")


def test_the_reference_application_follows_the_maintenance_window(
    run: Run, at_head: AtHead, tmp_path: Path, environ: dict[str, str], sqlite_url: str
) -> None:
    """With the database alone. Refused requests have an id, and both events are logged."""
    at_head.bring(sqlite_url)
    environ |= {"DATABASE_URL": sqlite_url, "ENVIRONMENT": "test"}
    with running_web(environ, tmp_path) as web:
        statuses = [web.client.get("/me").status_code]
        for switch, expected in (("on", 503), ("off", 401)):
            assert 0 == run(["system", "maintenance", switch, "--confirm"]).returncode
            deadline = time.monotonic() + PATIENCE
            while (answer := web.client.get("/me")).status_code != expected:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            statuses.append(answer.status_code)
            assert answer.headers["x-request-id"]
            assert 200 == web.client.get("/health/live").status_code
        events = [line["event"] for line in web.lines() if line["event"].startswith("maint")]

    assert [401, 503, 401] == statuses
    assert ["maintenance.started", "maintenance.ended"] == events
