"""A signal during a command on Redis: its changes stay, and it does not report success."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import redis

from tests.acceptance.conftest import Run, Start
from tests.support.redis_project import ask

KEYS = 200_000


def test_an_interrupted_cache_clear_does_not_report_success(
    run: Run, start: Start, environ: dict[str, str], redis_url: str
) -> None:
    """Exit code 143, even if all keys are removed by then; the log has the number of keys."""
    environ |= {"REDIS_URL": redis_url}
    line = ["cache", "clear", "--pattern", "k:*", "--confirm"]
    with redis.Redis.from_url(redis_url) as client:
        client.mset({f"k:{number}": 1 for number in range(KEYS)})
        process = start(line)
        deadline = time.monotonic() + 60
        while client.dbsize() == KEYS:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline

        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
        left = ask(redis_url, "DBSIZE")
        again = run(line)

        assert 143 == process.returncode
        assert "its work before that was kept; run the same command again to do the rest" in stderr
        lines = [json.loads(text) for text in stderr.splitlines() if text.startswith("{")]
        [gone] = [line["keys"] for line in lines if line["event"].startswith("cache.clear")]
        assert KEYS - left == gone
        assert (0, 0) == (again.returncode, client.dbsize()), again.stderr


def test_after_sigterm_the_job_can_be_waited_for_again(
    run: Run, start: Start, environ: dict[str, str], redis_url: str, tmp_path: Path
) -> None:
    """Exit code 143, and the option without which the same command would queue a second job."""
    environ |= {"REDIS_URL": redis_url, "ENVIRONMENT": "test"}
    environ |= {"DATABASE_URL": f"sqlite:///{tmp_path}/none.sqlite3"}
    process = start(["jobs", "run", "refresh_report", "--job-id", "one", "--wait"])
    deadline = time.monotonic() + 60
    while not ask(redis_url, "EXISTS", "arq:queue"):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline

    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)

    assert 143 == process.returncode
    assert "add --job-id=one to" in stderr, stderr
