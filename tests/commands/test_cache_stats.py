"""`cache stats`."""

from __future__ import annotations

from pathlib import Path

import pytest

from oneoff.services.cache.stats import facts
from oneoff.testing import Manage
from tests.support.redis_project import ask, environ_on, fill, fill_cluster
from tests.support.servers import RedisCluster


@pytest.fixture
def manage_environ(migrated_sqlite: Path, tmp_path: Path, redis_url: str) -> dict[str, str]:
    """Run `manage` on an empty Redis."""
    return environ_on(redis_url, migrated_sqlite, tmp_path)


async def test_stats_show_keys_hit_rate_and_memory(manage: Manage, redis_url: str) -> None:
    """Number of keys, keys with an expiry, hit rate and memory."""
    fill(redis_url, ["a", "b"])
    ask(redis_url, "EXPIRE", "a", 100)
    ask(redis_url, "CONFIG", "RESETSTAT")
    for key in ("a", "b", "a", "missing"):
        ask(redis_url, "GET", key)

    shown = await manage("cache stats --json")

    stats = shown.json["data"]
    assert 0 == shown.exit_code
    assert (2, 1, {"db0": 2}) == (stats["keys"], stats["keys_with_ttl"], stats["databases"])
    assert (3, 1, 0.75) == (stats["hits"], stats["misses"], stats["hit_rate"])
    assert ("Redis", "standalone", None) == (
        stats["server"],
        stats["mode"],
        stats["memory_limit_bytes"],
    )
    assert min(stats["memory_bytes"], stats["clients"], stats["uptime_seconds"] + 1) > 0


async def test_on_a_cluster_each_primary_has_a_row(
    on_cluster: Manage, redis_cluster: RedisCluster
) -> None:
    """The last row is the sum."""
    fill_cluster(redis_cluster, [f"user:{number}" for number in range(30)])

    shown = await on_cluster("cache stats --json")

    *nodes, total = shown.json["data"]
    assert {node.port for node in redis_cluster.nodes} == {
        int(row["node"].rpartition(":")[2]) for row in nodes
    }
    assert ("all", 30, 30) == (total["node"], total["keys"], sum(row["keys"] for row in nodes))


def test_before_the_first_lookup_there_is_no_hit_rate() -> None:
    """None, not zero, because no key was missed."""
    assert facts({"keyspace_hits": 0, "keyspace_misses": 0})["hit_rate"] is None


def test_valkey_shows_its_own_version() -> None:
    """Not the version of Redis that it is compatible with."""
    info = {"redis_version": "7.2.4", "valkey_version": "8.1.0", "server_mode": "standalone"}

    found = facts(info)

    assert ("Valkey", "8.1.0", "standalone") == (found["server"], found["version"], found["mode"])
