"""The settings of a worker, and the hooks that a worker uses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from arq import cron, func
from redis.exceptions import ConnectionError as Lost
from structlog.testing import capture_logs

from oneoff import ConfigurationError, Project, UsageError
from oneoff.config.settings import load_config
from oneoff.integrations.arq import worker as worker_hooks
from oneoff.integrations.arq.worker import outlive_outages
from oneoff.services.jobs.redis_settings import redis_settings
from oneoff.services.jobs.worker_settings import load_worker
from tests.support.arq_shop import add, fail

ROOT = Path(__file__).parents[4]


class Plain:
    """The fewest settings that ARQ accepts."""

    functions = (
        add,
        func(fail, timeout=5, max_tries=1, keep_result=0),
        "tests.support.arq_shop.add",
    )
    cron_jobs = (cron(add, minute=5),)


AS_DICT: dict[str, Any] = {
    "functions": [add],
    "queue_name": "mine",
    "health_check_interval": 7,
    "keep_result_forever": True,
}


class Broken:
    """Names a function that does not exist."""

    functions = ("tests.support.arq_shop.no_such",)


class NoCoroutine:
    """Names a function that is not a coroutine."""

    functions = (len,)


def worker(name: str) -> Any:
    """Load one of the settings above."""
    return load_worker(Project("shop", worker=f"{__name__}:{name}"))


def test_missing_settings_have_arqs_defaults() -> None:
    """Those of the installed version."""
    plain = worker("Plain")

    assert ("arq:queue", "arq:queue:health-check", 3600, 86_400_000, False, True) == (
        plain.queue,
        plain.health_check_key,
        plain.health_check_interval,
        plain.expires_extra_ms,
        plain.allow_abort_jobs,
        plain.retry_jobs,
    )
    tasks = {
        name: (task.timeout, task.keep_result, task.max_tries) for name, task in plain.tasks.items()
    }
    assert {
        "add": (300, 3600, 5),
        "fail": (5, 0, 1),
        "tests.support.arq_shop.add": (300, 3600, 5),
        "cron:add": (300, 0, 1),
    } == tasks


def test_settings_may_be_a_dict() -> None:
    """ARQ accepts a class or a dict."""
    spec = worker("AS_DICT")

    assert ("mine", "mine:health-check", 7, None) == (
        spec.queue,
        spec.health_check_key,
        spec.health_check_interval,
        spec.tasks["add"].keep_result,
    )


@pytest.mark.parametrize("name", ["Broken", "NoCoroutine"])
def test_settings_that_arq_would_refuse_are_refused(name: str) -> None:
    """With a configuration error."""
    with pytest.raises(ConfigurationError) as caught:
        worker(name)

    assert "bad-worker" == caught.value.code


def test_a_project_without_a_worker_shows_how_to_name_one() -> None:
    """The error shows the argument of Project."""
    with pytest.raises(ConfigurationError) as caught:
        load_worker(Project("shop"))

    assert ('Project(..., worker="app.worker:WorkerSettings")',) == caught.value.try_


@pytest.mark.parametrize(("typed", "meant"), [("ad", "add"), ("fial", "fail")])
def test_an_unknown_task_gets_a_suggestion(typed: str, meant: str) -> None:
    """And the list of all tasks."""
    with pytest.raises(UsageError) as caught:
        worker("Plain").task(typed)

    assert f"there is no task {typed!r}; did you mean {meant}?" == caught.value.message
    assert "add, cron:add, fail" in caught.value.try_[0]


def test_arq_connects_with_the_parts_of_redis_url(tmp_path: Path) -> None:
    """They are decoded, TLS is as configured, and the repr does not contain the password."""
    config = load_config(
        tmp_path,
        Project("shop"),
        {
            "REDIS_URL": "rediss://shop:p%40ss%2Fword@redis.example:7000/3",
            "REDIS_VERIFY_CERTIFICATE": "false",
            "REDIS_TIMEOUT": "9",
        },
    )

    settings = redis_settings(config)

    assert ("redis.example", 7000, 3, "shop", "p@ss/word", True, "none", False, 9) == (
        settings.host,
        settings.port,
        settings.database,
        settings.username,
        settings.password,
        settings.ssl,
        settings.ssl_cert_reqs,
        settings.ssl_check_hostname,
        settings.conn_timeout,
    )
    assert "RedisSettings(redis.example:7000/3)" == repr(settings)


async def test_an_outage_has_one_deadline_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt after the deadline, such as closing the worker, does not wait again."""
    answers: list[Any] = [Lost("away"), Lost("away"), "connection", *[Lost("away")] * 9]
    now = 0.0

    async def get_connection() -> Any:
        nonlocal now
        now += 20
        answer = answers.pop(0)
        if isinstance(answer, Lost):
            raise answer
        return answer

    address = {"host": "redis", "port": 7000}
    pool = SimpleNamespace(get_connection=get_connection, connection_kwargs=address)
    outlive_outages({"redis": SimpleNamespace(connection_pool=pool)})
    monkeypatch.setattr(worker_hooks, "monotonic", lambda: now)
    monkeypatch.setattr(worker_hooks, "OUTAGE_PAUSE", 0)

    with capture_logs() as lines:
        found = await pool.get_connection()
        for _ in range(2):
            with pytest.raises(Lost):
                await pool.get_connection()

    # Three attempts in the second outage, which lasts 40 s on this clock, and one after it.
    assert ("connection", 5) == (found, len(answers))
    assert [
        ("redis.lost", "redis:7000"),
        ("redis.regained", "redis:7000"),
        ("redis.lost", "redis:7000"),
    ] == [(line["event"], line["server"]) for line in lines]


@pytest.mark.parametrize(
    ("environ", "error", "words"),
    [
        ({"PASSWORD_MIN_LENGTH": "abc"}, "bad-settings", "PASSWORD_MIN_LENGTH: input should be"),
        ({"REDIS_URL": ""}, "redis-not-configured", "REDIS_URL is not set"),
    ],
)
def test_a_worker_with_wrong_settings_ends_with_one_line(
    environ: dict[str, str], error: str, words: str
) -> None:
    """Before it connects to anything, and without a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "arq", "app.worker.WorkerSettings"],
        env={"REDIS_URL": "redis://127.0.0.1:1/0", **environ},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    (line,) = [json.loads(text) for text in done.stderr.splitlines()]
    assert (1, "process.ended", error) == (done.returncode, line["event"], line["error"])
    assert line["message"].startswith(words)
