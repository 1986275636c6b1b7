"""Maintenance as a fleet sees it: four processes of a real server, and services that go away."""

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
from tests.acceptance.conftest import ROOT, Run
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


reader = MaintenanceReader(load_config(Path.cwd()), Project("shop", commands=()))
app = NameProcess(MaintenanceMiddleware(served, reader=reader))
"""


class Answer:
    """What one process said."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.body = response.read()
        self.status = response.status
        self.pid = int(response.headers["x-pid"])
        self.retry_after = response.headers.get("retry-after")


class Fleet:
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
        """Ask every process once."""
        answers = []
        for pid, connection in self._connections.items():
            answers.append(_get(connection, path, **headers))
            assert pid == answers[-1].pid
        return answers

    def statuses(self, path: str = "/", **headers: str) -> set[int]:
        """Return what they answer."""
        return {answer.status for answer in self.ask(path, **headers)}

    def all_say(self, status: int) -> float:
        """Ask until every process answers so; return the seconds it took."""
        started = time.monotonic()
        while self.statuses() != {status}:
            assert time.monotonic() - started < PATIENCE
            time.sleep(0.01)
        return time.monotonic() - started

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            connection.close()


def _get(connection: http.client.HTTPConnection, path: str, **headers: str) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", path, headers=names)
    return Answer(connection.getresponse())


@contextmanager
def serving(folder: Path, environ: Mapping[str, str]) -> Iterator[Fleet]:
    """Run uvicorn with four workers."""
    (folder / "fleet.py").write_text(APP)
    port = free_port()
    words = f"fleet:app --host {HOST} --port {port} --workers {WORKERS} --no-access-log"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", *words.split(), "--timeout-keep-alive=120"],
            cwd=folder,
            env={**environ, "PYTHONPATH": f"{folder}:{ROOT}"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    fleet = Fleet(port)
    try:
        fleet.meet()
        yield fleet
    finally:
        fleet.close()
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
    """Stand between every process of the test and its PostgreSQL and Redis."""
    redis_port = parse_redis_url(redis_url).port
    with proxying(postgres_server.port) as database, proxying(redis_port) as redis:
        environ |= {
            "DATABASE_URL": database.url(postgres_url),
            "REDIS_URL": redis.url(redis_url),
            "SECRET_KEY": KEY,
            "ENVIRONMENT": "test",
        }
        yield database, redis


def test_a_fleet_follows_the_operator(
    run: Run, tmp_path: Path, environ: dict[str, str], proxies: tuple[Proxy, Proxy]
) -> None:
    """On and off within two seconds, whatever becomes of Redis, and of the database.

    One fleet for all of it: starting four processes takes longer than the rest.
    """
    database, redis = proxies

    def switch(line: str) -> str:
        done = run([*line.split(), "--json"])
        assert 0 == done.returncode, done.stderr
        data = json.loads(done.stdout)["data"]
        return data.get("pass", "") if isinstance(data, dict) else ""

    switch("migrate")
    with serving(tmp_path, environ) as fleet:
        earlier = everybody_hears_of_it(fleet, switch)
        redis.refuse()
        everybody_notices_without_redis(fleet, switch, earlier)
        database.refuse()
        what_was_holds(fleet)
        database.heal()
        switch("system maintenance off --confirm")
        assert fleet.all_say(200) < STALE_LIMIT


def everybody_hears_of_it(fleet: Fleet, switch: Callable[[str], str]) -> str:
    """On and off: probes go on, the pass lets its holder in; return that pass."""
    assert {200} == fleet.statuses()
    given = switch("system maintenance on --expires 2h --confirm")
    assert fleet.all_say(503) < STALE_LIMIT
    assert {True} == {7100 < int(answer.retry_after or 0) <= 7200 for answer in fleet.ask()}
    assert {200} == fleet.statuses("/health/live")
    assert {200} == fleet.statuses(x_maintenance_bypass=given)
    switch("system maintenance off --confirm")
    assert fleet.all_say(200) < STALE_LIMIT
    return given


def everybody_notices_without_redis(
    fleet: Fleet, switch: Callable[[str], str], earlier: str
) -> None:
    """On, though nobody can be told; the pass of the window before is worth nothing."""
    given = switch("system maintenance on --confirm")
    assert fleet.all_say(503) < STALE_LIMIT
    assert {503} == fleet.statuses(x_maintenance_bypass=earlier)
    assert {200} == fleet.statuses(x_maintenance_bypass=given)
    assert {"60"} == {answer.retry_after for answer in fleet.ask()}


def what_was_holds(fleet: Fleet) -> None:
    """While both are down, for longer than anything is kept."""
    end = time.monotonic() + 2 * STALE_LIMIT
    while time.monotonic() < end:
        assert {503} == fleet.statuses()
    assert {200} == fleet.statuses("/health/live")


def test_the_reference_application_follows(
    run: Run, tmp_path: Path, environ: dict[str, str], sqlite_url: str
) -> None:
    """With the database alone; its refusals have a request id, and its log says what happened."""
    environ |= {"DATABASE_URL": sqlite_url, "ENVIRONMENT": "test"}
    assert 0 == run(["migrate"]).returncode
    with running_web(environ, tmp_path) as web:
        statuses = [web.client.get("/me").status_code]
        for switch, expected in (("on", 503), ("off", 401)):
            assert 0 == run(["system", "maintenance", switch, "--confirm"]).returncode
            deadline = time.monotonic() + STALE_LIMIT
            while (answer := web.client.get("/me")).status_code != expected:
                assert time.monotonic() < deadline
            statuses.append(answer.status_code)
            assert answer.headers["x-request-id"]
            assert 200 == web.client.get("/health/live").status_code
        events = [line["event"] for line in web.lines() if line["event"].startswith("maint")]

    assert [401, 503, 401] == statuses
    assert ["maintenance.started", "maintenance.ended"] == events
