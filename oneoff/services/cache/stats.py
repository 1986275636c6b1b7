"""Read the statistics of Redis that show whether it is healthy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from oneoff.redis.client import each_primary
from oneoff.utils.concurrency import together

if TYPE_CHECKING:
    from redis.asyncio import Redis

Facts = dict[str, Any]

_COLUMNS = (
    "node keys keys_with_ttl memory_bytes memory_limit_bytes fragmentation hit_rate evicted "
    "expired clients uptime_seconds version".split()
)
_ADDED = (
    "keys keys_with_ttl memory_bytes hits misses evicted expired clients blocked_clients".split()
)


async def read_stats(cache: Redis) -> list[Facts]:
    """Return facts about each server that has keys: the only one, or each primary of a cluster.

    Memory is in bytes, uptime in seconds. The hit rate is between 0 and 1, since the start of the
    server; None before the first lookup.
    """
    async with each_primary(cache) as primaries:
        infos = await together([_info(node) for node in primaries])
        return [
            {"node": _address(node), **facts(info)}
            for node, info in zip(primaries, infos, strict=True)
        ]


def facts(info: Mapping[str, Any]) -> Facts:
    """Select the facts from the server's answer to INFO."""
    databases = {name: db for name, db in info.items() if _is_database(name, db)}
    is_valkey = "valkey_version" in info
    return {
        "server": "Valkey" if is_valkey else "Redis",
        "version": str(info.get("valkey_version" if is_valkey else "redis_version", "")),
        "mode": str(info.get("redis_mode") or info.get("server_mode") or ""),
        "uptime_seconds": info.get("uptime_in_seconds"),
        "clients": info.get("connected_clients"),
        "blocked_clients": info.get("blocked_clients"),
        "memory_bytes": info.get("used_memory"),
        "memory_peak_bytes": info.get("used_memory_peak"),
        "memory_limit_bytes": info.get("maxmemory") or None,
        "memory_policy": info.get("maxmemory_policy"),
        "fragmentation": info.get("mem_fragmentation_ratio"),
        "hits": info.get("keyspace_hits"),
        "misses": info.get("keyspace_misses"),
        "hit_rate": _hit_rate(info.get("keyspace_hits", 0), info.get("keyspace_misses", 0)),
        "evicted": info.get("evicted_keys"),
        "expired": info.get("expired_keys"),
        "keys": sum(db["keys"] for db in databases.values()),
        "keys_with_ttl": sum(db["expires"] for db in databases.values()),
        "databases": {name: db["keys"] for name, db in sorted(databases.items())},
    }


def table(nodes: Sequence[Facts]) -> list[Facts]:
    """Return a row of selected facts for each node, and a row for all of them."""
    sums: Facts = {name: sum(node[name] or 0 for node in nodes) for name in _ADDED}
    sums |= {"node": "all", "hit_rate": _hit_rate(sums["hits"], sums["misses"])}
    return [{name: row.get(name) for name in _COLUMNS} for row in (*nodes, sums)]


async def _info(node: Redis) -> Facts:
    asking: Any = node.info()
    answer: Facts = await asking
    return answer


def _is_database(name: str, value: Any) -> bool:
    return name.startswith("db") and isinstance(value, Mapping) and "keys" in value


def _hit_rate(hits: int, misses: int) -> float | None:
    return round(hits / (hits + misses), 4) if hits + misses else None


def _address(node: Redis) -> str:
    given: Any = node.connection_pool.connection_kwargs
    return f"{given['host']}:{given['port']}"
