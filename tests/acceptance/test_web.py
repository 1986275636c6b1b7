"""The web process: health checks, API keys, sessions, start and stop."""

from __future__ import annotations

import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import AtHead, Run
from tests.support.database import open_sqlite
from tests.support.servers import Postgres
from tests.support.web import Web, running_web

if TYPE_CHECKING:
    import httpx

SECRET = "p4ssw0rd-x"  # noqa: S105 - planted
UP = [{"service": "database", "status": "up"}, {"service": "migrations", "status": "up"}]


def key_of_a_ci_job(run: Run, scope: str) -> str:
    """Create a service account and a key with this scope; return the key."""
    name = f"ci-{scope}"
    done = run(["service-account", "create", name])
    assert 0 == done.returncode, done.stderr
    done = run(["apikey", "create", "--service-account", name, "--scope", scope, "--quiet"])
    assert 0 == done.returncode, done.stderr
    return done.stdout.strip()


def wait_for(web: Web, path: str, status: int) -> httpx.Response:
    """Repeat a request until the response has this status; return the response."""
    deadline = time.monotonic() + 60
    while (answer := web.client.get(path)).status_code != status:
        assert time.monotonic() < deadline, web.lines()
        time.sleep(0.1)
    return answer


def test_health_checks_and_requests_with_a_key_are_answered(web: Web, run: Run) -> None:
    """On both databases; log lines have the request id, and no key."""
    key, other = key_of_a_ci_job(run, "read"), key_of_a_ci_job(run, "write")

    live, ready, startup = (
        web.client.get(f"/health/{name}") for name in ("live", "ready", "startup")
    )
    bearer = web.client.get(
        "/me", headers={"Authorization": f"Bearer {key}", "X-Request-ID": "r-1"}
    )
    header = web.client.get("/me", headers={"X-API-Key": key})
    forbidden = web.client.get("/me", headers={"X-API-Key": other})

    assert (200, {"status": "up"}) == (live.status_code, live.json())
    assert (200, {"status": "up", "checks": UP}) == (ready.status_code, ready.json())
    assert (200, "no-store") == (startup.status_code, startup.headers["cache-control"])
    assert 200 == bearer.status_code, web.lines()
    assert bearer.json() == header.json()
    assert ("service-account", "ci-read", None, ["read"]) == tuple(
        bearer.json()[name] for name in ("kind", "name", "role", "scopes")
    )
    assert 403 == forbidden.status_code
    assert 'error="insufficient_scope", scope="read"' in forbidden.headers["www-authenticate"]
    finished = web.requests("/me", 3)
    assert ["r-1", bearer.json()["key_id"], 200] == [
        finished[0][name] for name in ("request_id", "key_id", "status")
    ]
    assert 3 == len(finished)
    assert key not in json.dumps(web.lines())


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_key_works_until_it_is_revoked(web: Web, run: Run) -> None:
    """It works during the grace after a rotation too, and a revocation needs no restart."""

    def statuses() -> list[int]:
        return [web.client.get("/me", headers={"X-API-Key": key}).status_code for key in keys]

    keys = [key_of_a_ci_job(run, "read")]
    before = statuses()
    prefix = keys[0].rpartition("_")[0]
    rotated = run(["apikey", "rotate", prefix, "--grace", "1h", "--confirm", "--quiet"])
    keys.append(rotated.stdout.strip())
    in_grace = statuses()
    revoked = run(["apikey", "revoke", prefix, "--confirm"])

    assert (0, 0) == (rotated.returncode, revoked.returncode), rotated.stderr + revoked.stderr
    assert ([200], [200, 200], [401, 200]) == (before, in_grace, statuses())


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_all_bad_keys_get_the_same_answer(web: Web) -> None:
    """Only the log has the reason."""
    answers = [
        web.client.get("/me", headers=headers)
        for headers in ({}, {"X-API-Key": "nonsense"}, {"Authorization": "Basic YTpi"})
    ]

    assert {(401, 'Bearer realm="shop"', '{"detail":"a valid API key is required"}')} == {
        (answer.status_code, answer.headers["www-authenticate"], answer.text) for answer in answers
    }
    assert ["missing", "malformed", "missing"] == [
        line["reason"] for line in web.lines("apikey.refused")
    ]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_startup_check_succeeds_after_the_migrations(
    run: Run, database_url: str, environ: dict[str, str], tmp_path: Path
) -> None:
    """Once it has succeeded, it does not fail again, even if the database is lost."""
    environ |= {"DATABASE_URL": database_url, "ENVIRONMENT": "test"}
    with running_web(environ, tmp_path) as web:
        before = [web.client.get(f"/health/{name}").status_code for name in ("live", "startup")]
        assert 0 == run(["migrate"]).returncode
        wait_for(web, "/health/startup", 200)
        Path(database_url.removeprefix("sqlite:///")).unlink()
        gone = wait_for(web, "/health/ready", 503)
        started = web.client.get("/health/startup")

    assert [200, 503] == before
    assert "behind" == gone.json()["checks"][0]["status"]
    assert 200 == started.status_code


def test_answers_name_services_that_are_down_but_no_hosts(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """Hosts are only in the log. The process is still live."""
    environ |= {
        "DATABASE_URL": f"postgres://shop:{SECRET}@127.0.0.1:1/shop",
        "REDIS_URL": f"redis://:{SECRET}@127.0.0.1:1/0",
        "ENVIRONMENT": "test",
    }
    with running_web(environ, tmp_path) as web:
        ready, me = web.client.get("/health/ready"), web.client.get("/me")
        live = web.client.get("/health/live")

    assert (503, 503, 200) == (ready.status_code, me.status_code, live.status_code)
    states = {"database": "down", "migrations": "unknown", "redis": "down"}
    checks = [{"service": name, "status": status} for name, status in states.items()]
    assert {"status": "down", "checks": checks} == ready.json()
    assert ('{"detail":"a service is not available now"}', "5") == (
        me.text,
        me.headers["retry-after"],
    )
    changed = {line["checked"]: line["detail"] for line in web.lines("health.changed")}
    assert "127.0.0.1:1" in changed["database"]
    assert SECRET not in json.dumps(web.lines())


def test_the_web_process_is_ready_without_redis(
    at_head: AtHead, sqlite_url: str, environ: dict[str, str], tmp_path: Path
) -> None:
    """The answer reports that Redis is down."""
    at_head.bring(sqlite_url)
    environ |= {"DATABASE_URL": sqlite_url, "ENVIRONMENT": "test"}
    environ |= {"REDIS_URL": "redis://127.0.0.1:1/0"}

    with running_web(environ, tmp_path) as web:
        ready = web.client.get("/health/ready")

    assert (200, [*UP, {"service": "redis", "status": "down"}]) == (
        ready.status_code,
        ready.json()["checks"],
    )


def test_a_database_that_never_answers_does_not_block_health_checks(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """Twenty concurrent health checks share one query to the database."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = f"postgres://shop:{SECRET}@127.0.0.1:{port}/shop"
        with running_web(environ | {"DATABASE_URL": url}, tmp_path) as web:
            started = time.monotonic()
            with ThreadPoolExecutor(20) as pool:
                answers = list(pool.map(web.client.get, ["/health/ready"] * 20))

    assert {503} == {answer.status_code for answer in answers}
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_no_request_fails_after_a_restart_of_the_database(
    web: Web, run: Run, postgres_server: Postgres
) -> None:
    """Lost connections of the pool are replaced before they are used."""
    headers = {"X-API-Key": key_of_a_ci_job(run, "read")}
    before = web.client.get("/me", headers=headers)

    postgres_server.restart()

    assert (200, 200) == (before.status_code, web.client.get("/me", headers=headers).status_code)


def test_wrong_settings_end_the_start_with_one_message(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """It names all wrong settings, without a traceback and without values."""
    environ |= {
        "DATABASE_URL": f"postgres://shop:{SECRET}@db:x/shop",
        "REDIS_URL": f"redis://:{SECRET}@cache:x/0",
        "PASSWORD_MIN_LENGTH": "3",
    }
    with pytest.raises(AssertionError) as failed, running_web(environ, tmp_path):
        pass

    lines = [json.loads(line) for line in (tmp_path / "web.log").read_text().splitlines()]
    errors = [line["event"] for line in lines if line["level"] == "error"]
    assert 2 == len(errors)
    for name in ("DATABASE_URL", "REDIS_URL", "PASSWORD_MIN_LENGTH"):
        assert f"{name}: " in errors[0]
    assert "Application startup failed. Exiting." == errors[1]
    assert SECRET not in str(failed.value)
    assert "Traceback" not in str(failed.value)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_after_sigterm_a_running_request_is_answered(web: Web, run: Run, migrated: str) -> None:
    """The request waits for the database when the signal arrives; then the process ends."""
    headers = {"X-API-Key": key_of_a_ci_job(run, "read")}
    with open_sqlite(migrated) as database, ThreadPoolExecutor(1) as pool:
        database.execute("BEGIN IMMEDIATE")
        asked = pool.submit(web.client.get, "/me", headers=headers)
        time.sleep(0.3)  # nothing shows when the request waits for the database
        web.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 60
        while not web.lines("Shutting down"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not asked.done()
        database.execute("ROLLBACK")

        answer = asked.result(timeout=60)

    assert 200 == answer.status_code
    assert -signal.SIGTERM == web.process.wait(timeout=60)
    assert "Application shutdown complete." in [line["event"] for line in web.lines()]
