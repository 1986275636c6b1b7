"""A signal while Redis is at work: what is done stays, and is not called the whole."""

from __future__ import annotations

import json
import signal
import time

import redis

from tests.acceptance.conftest import Run, Start
from tests.commands.redis_project import ask

KEYS = 200_000
UNDER_WAY = 1_000  # a page that was sent, whose answer nobody waited for


def test_a_cleared_cache_that_was_interrupted_is_not_called_done(
    run: Run, start: Start, environ: dict[str, str], redis_url: str
) -> None:
    """143, though the driver may hear of it only when the last key is gone; the log counts them."""
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
        _, stderr = process.communicate(timeout=30)
        left = ask(redis_url, "DBSIZE")
        again = run(line)

        assert 143 == process.returncode
        assert "what it did before that stays; the same command again does the rest" in stderr
        lines = [json.loads(text) for text in stderr.splitlines() if text.startswith("{")]
        [gone] = [line["keys"] for line in lines if line["event"].startswith("cache.clear")]
        assert 0 < gone <= KEYS - left <= gone + UNDER_WAY
        assert (0, 0) == (again.returncode, client.dbsize()), again.stderr
