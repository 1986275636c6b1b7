"""One command of each policy and kind of resource, for the test project."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.support.database import query
from tests.support.moments.launch import ROOT
from tests.support.moments.trial import Deed, Manner, Record, Repeat
from tests.support.redis_project import ask
from tests.support.servers import Proxy

PROJECT = ROOT / "tests" / "acceptance" / "project"
TICKS = 30
"""Rows of the batch."""
TABLES = (
    "CREATE TABLE IF NOT EXISTS deed (id serial PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS tick (id integer PRIMARY KEY, n integer NOT NULL)",
)
LAST = "SELECT status, exit_code FROM oneoff_runs ORDER BY started_at DESC LIMIT 1"
FAILING = Manner(fails_to_close=True)


class _Stage:
    """The servers of the test project; its methods are those that `deeds` describes."""

    def __init__(
        self, url: str, redis_url: str, environ: Mapping[str, str], proxies: Sequence[Proxy]
    ) -> None:
        self._url, self._redis_url, self._proxies = url, redis_url, proxies
        self._environ = {
            **environ,
            "DATABASE_URL": proxies[0].url(url),
            "REDIS_URL": proxies[1].url(redis_url),
            "ENVIRONMENT": "test",
            "ASIDE_WHEN": "never",
        }
        for sql in TABLES:
            query(url, sql)

    def deed(self, *words: str, count: Callable[[str], int], **more: Any) -> Deed:
        return Deed(
            words=("deed", *words),
            cwd=PROJECT,
            environ=self._environ,
            proxies=self._proxies,
            count=count,
            record=self._record,
            prepare=self._prepare,
            **more,
        )

    def number(self, sql: str) -> Callable[[str], int]:
        return lambda _stdout: int(query(self._url, sql)[0][0])

    def counter(self, _stdout: str) -> int:
        return int(ask(self._redis_url, "GET", "deed") or 0)

    def _record(self) -> Record:
        found = query(self._url, LAST)
        return Record(*found[0]) if found else Record()

    def _prepare(self) -> None:
        for table in ("deed", "tick", "oneoff_outbox", "oneoff_batches", "oneoff_runs"):
            query(self._url, f"DELETE FROM {table}")
        query(self._url, f"INSERT INTO tick SELECT n, 0 FROM generate_series(1, {TICKS}) AS n")
        ask(self._redis_url, "FLUSHALL")


def deeds(
    url: str, redis_url: str, environ: Mapping[str, str], proxies: Sequence[Proxy]
) -> dict[str, Deed]:
    """Return the commands.

    Args:
        url: URL of a migrated PostgreSQL database of the test project.
        redis_url: URL of a Redis without other keys.
        environ: Variables for the processes, without the two URLs.
        proxies: The proxy of PostgreSQL and the one of Redis.
    """
    stage = _Stage(url, redis_url, environ, proxies)
    deed = stage.deed
    rows = stage.number("SELECT count(*) FROM deed")
    both = stage.number("SELECT count(*) + (SELECT count(*) FROM oneoff_outbox) FROM deed")
    ticks = stage.number("SELECT sum(n) FROM tick")
    repeatable = Repeat.REPEATABLE
    return {
        "session": deed("session", count=rows),
        "failing close": deed("session", count=rows, manner=FAILING),
        "own resource": deed("own", count=rows),
        "unsupported": deed("unsupported", "--confirm", count=rows),
        "effect": deed("effect", count=both, expected=2),
        "database": deed("database", count=rows, repeat=repeatable),
        "plan": deed("plan", count=stage.counter, repeat=repeatable),
        "batch": deed("batch", "--confirm", count=ticks, expected=TICKS, repeat=Repeat.CHECKPOINT),
        "read": deed(
            "read", count=lambda out: int(out == "looked\n"), repeat=repeatable, saves=False
        ),
    }
