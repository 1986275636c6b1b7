"""Helpers for tests of commands on Redis, which all use SQLite."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import redis

from tests.support.servers import RedisCluster


def environ_on(url: str, migrated: Path, folder: Path) -> dict[str, str]:
    """Return environment variables for a migrated SQLite database and a Redis."""
    path = folder / "test.sqlite3"
    shutil.copyfile(migrated, path)
    return {
        "DATABASE_URL": f"sqlite:///{path}",
        "ENVIRONMENT": "test",
        "OPERATOR": "tester",
        "REDIS_URL": url,
    }


def fill(url: str, keys: Iterable[str | bytes], value: str = "x") -> None:
    """Write keys into one server."""
    with redis.Redis.from_url(url, protocol=2) as client:
        pipeline = client.pipeline(transaction=False)
        for key in keys:
            pipeline.set(key, value)
        pipeline.execute()


def ask(url: str, *words: Any) -> Any:
    """Send one command and return the answer."""
    with redis.Redis.from_url(url, protocol=2) as client:
        return client.execute_command(*words)


def keys_in(url: str) -> list[bytes]:
    """Return all keys of one server, in order."""
    found: Sequence[bytes] = ask(url, "KEYS", "*")
    return sorted(found)


def fill_cluster(cluster: RedisCluster, keys: Iterable[str | bytes], value: str = "x") -> None:
    """Write keys to the nodes of their slots."""
    with redis.RedisCluster.from_url(cluster.url) as client:
        pipeline = client.pipeline()
        for key in keys:
            pipeline.set(key, value)
        pipeline.execute()


def keys_in_cluster(cluster: RedisCluster) -> list[bytes]:
    """Return the keys of all nodes, in order."""
    return sorted(key for node in cluster.nodes for key in keys_in(node.url))
