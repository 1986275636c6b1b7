"""The reference project's worker, as a process: `arq app.worker.WorkerSettings`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.acceptance.conftest import ROOT, Run
from tests.support.database import query
from tests.support.servers import Proxy

PATIENCE = 60
"""Seconds to wait for something that a worker should do immediately."""
SLOW_SHOP = {
    "app/project.py": """\
from oneoff import Project

project = Project("shop", commands=("commands",), worker="app.worker:WorkerSettings")
""",
    "app/worker.py": """\
import asyncio
import os
from pathlib import Path

from oneoff import Project
from oneoff.integrations.arq import bind_job, outlive_outages, pause_during_maintenance
from oneoff.services.jobs.redis_settings import redis_settings
from oneoff.config.settings import load_config
from oneoff.integrations.process_logs import configure_logging

import structlog


class Reader:
    async def window(self):
        return Path("window").exists() or None


async def start(ctx):
    configure_logging("worker")
    outlive_outages(ctx)
    pause_during_maintenance(ctx, Reader())


async def mark(ctx, name):
    structlog.get_logger().info("mark.made", name=name)
    Path(name).write_text(str(ctx["job_try"]))
    return name


async def sleep(ctx, seconds: float):
    Path("asleep").touch()
    await asyncio.sleep(seconds)
    Path("awake").touch()


class WorkerSettings:
    functions = (mark, sleep)
    redis_settings = redis_settings(load_config(Path.cwd(), Project("shop")))
    on_startup = start
    on_job_start = bind_job
    poll_delay = 0.05
    health_check_interval = 5
    job_completion_wait = 10
    max_tries = 2
    allow_abort_jobs = bool(os.environ.get("ABORTS"))
""",
}


@pytest.fixture
def settings(redis_url: str, tmp_path: Path, environ: dict[str, str], run: Run) -> dict[str, str]:
    """Give all processes of the test a Redis and a database."""
    environ |= {
        "REDIS_URL": redis_url,
        "DATABASE_URL": f"sqlite:///{tmp_path}/shop.sqlite3",
        "MAIL_URL": f"file:{tmp_path}/outbox",
        "ENVIRONMENT": "test",
    }
    return environ


@contextmanager
def worker(environ: dict[str, str], cwd: Path = ROOT, **more: str) -> Iterator[Any]:
    """Run a worker until the end of the block; it logs to `worker.log` in HOME."""
    log = Path(environ["HOME"]) / "worker.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "arq", "app.worker.WorkerSettings"],
            cwd=cwd,
            env={**environ, **more},
            stdin=subprocess.DEVNULL,
            stderr=stream,
            stdout=stream,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(PATIENCE)
    assert process.returncode in {0, -signal.SIGKILL}, log.read_text()


def until(happened: Any, what: str) -> None:
    """Wait until a process has done something."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.02)


def done(run: Run, words: str, **more: Any) -> dict[str, Any]:
    """Return the data of a command that succeeded."""
    finished = run([*words.split(), "--json"], **more)
    assert 0 == finished.returncode, finished.stdout
    envelope = json.loads(finished.stdout)
    return envelope["data"] if isinstance(envelope["data"], dict) else envelope


def test_tasks_return_the_same_results_in_a_worker_and_inline(
    run: Run, settings: dict[str, str], tmp_path: Path
) -> None:
    """A mail is sent only once, and an error is an exit code."""
    run(["migrate"])
    run("user create ada ada@example.com --generate-password".split())
    with worker(settings):
        mailed = done(run, "jobs run send_welcome_mail --args user_id=1 --wait --timeout 60s")
        again = done(run, "jobs run send_welcome_mail --args user_id=1 --inline")
        report = done(run, "jobs run refresh_report day=2099-01-31 --wait --timeout 60s")
        here = done(run, "jobs run refresh_report day=2099-01-31 --inline")
        expired = done(run, "jobs run expire_keys --wait --timeout 60s")
        failed = run("jobs run send_welcome_mail user_id=77 --wait --timeout 60s".split())
        stats = run(["jobs", "stats"])

    assert {"user_id": 1, "sent": True} == mailed["result"]
    assert {"user_id": 1, "sent": False} == again["result"]
    assert {"day": "2099-01-31", "user": 1, "moderator": 0, "admin": 0} == report["result"]
    assert report["result"] == here["result"]
    assert 0 == expired["result"]
    assert ["welcome-1.eml"] == [path.name for path in (tmp_path / "outbox").iterdir()]
    assert b"Hello ada" in (tmp_path / "outbox/welcome-1.eml").read_bytes()
    assert 3 == len(query(settings["DATABASE_URL"], "SELECT * FROM role_counts"))
    assert 1 == failed.returncode
    assert "oneoff.core.errors.NotFound('there is no user 77')" in failed.stderr
    assert "a worker was seen" in stats.stdout


@pytest.fixture
def shop(make_project: Any) -> Path:
    """Return a project whose worker allows no aborts, and whose tasks create files."""
    folder: Path = make_project(SLOW_SHOP)
    return folder


def test_a_deferred_job_that_was_aborted_never_runs(
    run: Run, settings: dict[str, str], shop: Path
) -> None:
    """With a worker that allows no aborts. A job that is queued after it runs."""
    with worker(settings, shop), redis.Redis.from_url(settings["REDIS_URL"]) as client:
        run("jobs run mark name=never --job-id one --defer 1h".split(), cwd=shop)
        aborted = run("jobs abort one --confirm".split(), cwd=shop)
        client.zadd("arq:queue", {"one": 0}, xx=True)  # it is due, if it is still queued
        done(run, "jobs run mark name=later --wait --timeout 60s", cwd=shop)

    assert "aborted job one: it will not run\n" in aborted.stdout
    assert (False, True) == ((shop / "never").exists(), (shop / "later").exists())


def test_a_running_job_is_stopped_if_its_worker_allows_it(
    run: Run, settings: dict[str, str], shop: Path
) -> None:
    """Otherwise the abort is refused."""
    words = "jobs run sleep seconds=60 --job-id one".split()
    abort = "jobs abort one --confirm".split()
    with worker(settings, shop, ABORTS="1"):
        run(words, cwd=shop)
        until((shop / "asleep").exists, "the job")
        refused = run(abort, cwd=shop)
        stopped = run(abort, cwd=shop, env={"ABORTS": "1"})

    assert (1, 0) == (refused.returncode, stopped.returncode), stopped.stderr
    assert "error[job-not-abortable]" in refused.stderr
    assert "aborted job one: it was stopped while running\n" in stopped.stdout
    assert not (shop / "awake").exists()


def test_a_worker_takes_no_job_while_a_window_is_open(
    run: Run, settings: dict[str, str], shop: Path
) -> None:
    """It continues afterwards, and no try was counted."""
    (shop / "window").touch()
    with worker(settings, shop):
        log = Path(settings["HOME"]) / "worker.log"
        until(lambda: "worker.paused" in log.read_text(), "the pause")
        run("jobs run mark name=made --job-id one".split(), cwd=shop)
        # After a few polls of the queue, the job is still there and unchanged.
        time.sleep(0.3)
        waiting = done(run, "jobs show one", cwd=shop)
        (shop / "window").unlink()
        until((shop / "made").exists, "the job")

    assert ("queued", 0) == (waiting["status"], waiting["tries"])
    assert "1" == (shop / "made").read_text()
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    events = {line["event"]: line for line in lines}
    assert "worker.resumed" in events
    assert ("one", 1) == (events["mark.made"]["job_id"], events["mark.made"]["job_try"])


def test_sigterm_lets_a_worker_finish_its_jobs(
    run: Run, settings: dict[str, str], shop: Path
) -> None:
    """It takes no new job, and the running job is completed."""
    with worker(settings, shop) as process:
        run("jobs run sleep seconds=1 --job-id one".split(), cwd=shop)
        until((shop / "asleep").exists, "the job")
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
        shown = done(run, "jobs show one", cwd=shop)

    assert ("completed", 1, 0) == (shown["status"], shown["tries"], process.returncode)


def test_a_worker_survives_an_outage_of_redis(
    run: Run, settings: dict[str, str], shop: Path, redis_proxy: Proxy
) -> None:
    """For some seconds, connections break and no new one can be opened."""
    with worker(settings, shop, REDIS_URL=redis_proxy.url(settings["REDIS_URL"])):
        run("jobs run mark name=first --wait --timeout 60s".split(), cwd=shop)
        redis_proxy.refuse()
        time.sleep(2.5)
        redis_proxy.heal()
        done(run, "jobs run mark name=second --wait --timeout 60s", cwd=shop)

    assert (shop / "second").exists()


@pytest.mark.usefixtures("settings")
def test_waiting_without_a_worker_is_a_temporary_error(run: Run, shop: Path) -> None:
    """Exit code 75 at the deadline, because a worker may start later."""
    late = run("jobs run mark name=x --job-id one --wait --timeout 2s".split(), cwd=shop)

    assert 75 == late.returncode
    assert "error[job-still-running]" in late.stderr


@pytest.mark.usefixtures("settings")
def test_a_redis_that_does_not_answer_is_unavailable(
    run: Run, shop: Path, redis_url: str, redis_proxy: Proxy
) -> None:
    """Exit code 69, after REDIS_TIMEOUT."""
    redis_proxy.half_open()
    environ = {"REDIS_URL": redis_proxy.url(redis_url), "REDIS_TIMEOUT": "0.5"}

    late = run(["jobs", "list"], cwd=shop, env=environ)

    assert 69 == late.returncode
    assert "error[redis-slow]" in late.stderr
