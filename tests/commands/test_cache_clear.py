"""`cache clear`."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis as AsyncRedis

from oneoff.services.cache.scan import escaped, is_everything
from oneoff.testing import Manage
from tests.support.redis_project import (
    ask,
    environ_on,
    fill,
    fill_cluster,
    keys_in,
    keys_in_cluster,
)
from tests.support.servers import RedisCluster

TRICKY = (b"a*b:1", b"a*b:2", b"axb:1", b"a[1]:1", b"a1:1", b"a?:1", b"ab:1", b"a\\:1", b"a^:1")


@pytest.fixture
def manage_environ(migrated_sqlite: Path, tmp_path: Path, redis_url: str) -> dict[str, str]:
    """Run `manage` on an empty Redis."""
    return environ_on(redis_url, migrated_sqlite, tmp_path)


def target(manage: Manage) -> str:
    """Return the target that an operator types to remove all keys."""
    return manage.environ["REDIS_URL"].rpartition("@")[2] + "@test"


async def test_only_keys_that_match_are_removed(manage: Manage, redis_url: str) -> None:
    """They are counted as the server counts them."""
    fill(redis_url, [*(f"user:{number}" for number in range(2_500)), "other:1"])

    cleared = await manage("cache clear --pattern user:* --confirm --json")

    assert (0, 2_500) == (cleared.exit_code, cleared.rows)
    assert {"pattern": "user:*", "keys": 2_500, "kept": 0} == cleared.json["data"]
    assert "removed 2,500 keys" == cleared.json["message"]
    assert [b"other:1"] == keys_in(redis_url)


async def test_the_second_run_finds_nothing_to_do(manage: Manage, redis_url: str) -> None:
    """It says so, and succeeds."""
    fill(redis_url, ["user:1"])

    first = await manage("cache clear --prefix user: --confirm")
    again = await manage("cache clear --prefix user: --confirm")

    assert ("removed 1 key\n", 0) == (first.stdout, first.exit_code)
    assert ("nothing to do: no key starts with 'user:'\n", 0) == (again.stdout, again.exit_code)


async def test_a_pattern_without_matches_is_shown_as_typed(manage: Manage) -> None:
    """Not in the escaped form that the server gets."""
    prefix = await manage("cache clear --prefix 'report[2026]*:' --confirm")
    pattern = await manage("cache clear --pattern 'report[2026]*:' --confirm")

    assert "nothing to do: no key starts with 'report[2026]*:'\n" == prefix.stdout
    assert "nothing to do: no key matches 'report[2026]*:'\n" == pattern.stdout


async def test_a_dry_run_counts_what_the_real_run_removes(manage: Manage, redis_url: str) -> None:
    """It removes nothing itself."""
    fill(redis_url, [f"user:{number}" for number in range(1_500)])

    preview = await manage("cache clear --pattern user:* --dry-run")
    left = len(keys_in(redis_url))
    real = await manage("cache clear --pattern user:* --confirm")

    assert (1_500, 1_500, 1_500) == (preview.rows, left, real.rows)
    assert "would remove 1,500 keys" in preview.stdout


async def test_a_key_that_scan_returns_twice_counts_once(
    manage: Manage, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while the server shrinks its table; in the dry run and in the real run."""
    from oneoff.services.cache import clear, scan

    fill(redis_url, [f"user:{number}" for number in range(50)])
    once = scan.pages

    async def twice(node, pattern):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        for _ in range(2):
            async for page in once(node, pattern):
                yield page

    monkeypatch.setattr(clear, "pages", twice)
    preview = await manage("cache clear --pattern user:* --dry-run")
    real = await manage("cache clear --pattern user:* --confirm")

    assert (50, 50) == (preview.rows, real.rows)


@pytest.mark.parametrize("key", TRICKY)
async def test_a_prefix_is_taken_literally(manage: Manage, redis_url: str, key: bytes) -> None:
    """Special characters in it match only themselves."""
    fill(redis_url, TRICKY)

    cleared = await manage(["cache", "clear", "--prefix", key.decode(), "--confirm"])

    assert 1 == cleared.rows
    assert sorted(set(TRICKY) - {key}) == keys_in(redis_url)


@settings(
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.binary(min_size=1, max_size=12), st.binary(max_size=3))
def test_an_escaped_text_matches_only_itself(redis_url: str, text: bytes, more: bytes) -> None:
    """For any bytes, checked by the server."""
    pattern = escaped(text.decode("latin-1")).encode("latin-1")
    other = bytes([text[0] ^ 1]) + text[1:] + more
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
        client.set(text, 1)
        client.set(other, 1)

        assert [text] == client.keys(pattern)


@pytest.mark.parametrize(
    ("pattern", "everything"),
    [
        ("", True),
        ("*", True),
        ("?*", True),
        ("[a-z]*", True),
        ("[^a]?", True),
        ("[^]]*", False),  # in Redis the first ] ends the set, and the second one is literal
        ("user:*", False),
        ("*a", False),
        (r"\**", False),
    ],
)
def test_a_pattern_without_any_text_means_all_keys(pattern: str, *, everything: bool) -> None:
    """So it is confirmed like the removal of all keys."""
    assert everything is is_everything(pattern)


async def test_removing_all_keys_needs_the_target(manage: Manage, redis_url: str) -> None:
    """A plain --confirm is refused for every pattern that means all keys."""
    fill(redis_url, ["user:1"])

    for line in ("cache clear", "cache clear --pattern *", "cache clear --prefix ''"):
        refused = await manage(f"{line} --confirm")
        assert 77 == refused.exit_code
        assert f"--confirm={target(manage)}\n" in refused.stderr
    assert [b"user:1"] == keys_in(redis_url)

    cleared = await manage(f"cache clear --confirm={target(manage)}")
    assert (0, []) == (cleared.exit_code, keys_in(redis_url))


async def test_another_database_of_the_server_is_not_changed(
    manage: Manage, redis_url: str
) -> None:
    """Database 1 keeps its keys if database 0 is cleared."""
    fill(redis_url, ["user:1"])
    fill(redis_url.removesuffix("0") + "1", ["user:1"])

    await manage(f"cache clear --confirm={target(manage)}")

    assert ([], [b"user:1"]) == (keys_in(redis_url), keys_in(redis_url.removesuffix("0") + "1"))


async def test_keys_of_jobs_are_kept_by_default(manage: Manage, redis_url: str) -> None:
    """Clearing the cache must not lose jobs."""
    fill(redis_url, ["user:1", "arq:job:1", "oneoff:maintenance:shop"])

    preview = await manage("cache clear --dry-run --json")
    cleared = await manage(f"cache clear --confirm={target(manage)} --json")
    left = keys_in(redis_url)
    everything = await manage(f"cache clear --include-jobs --confirm={target(manage)}")

    assert preview.json["data"] == cleared.json["data"] == {"pattern": "*", "keys": 1, "kept": 2}
    assert ["kept 2 keys of jobs and of oneoff (arq:*, oneoff:*)"] == cleared.json["warnings"][-1:]
    assert [b"arq:job:1", b"oneoff:maintenance:shop"] == left
    assert (2, []) == (everything.rows, keys_in(redis_url))


async def test_the_confirmation_says_whether_jobs_are_lost(manage: Manage) -> None:
    """Before the operator types the target."""
    without = await manage("cache clear")
    including = await manage("cache clear --include-jobs")

    assert "except arq:*, oneoff:*" in without.stderr
    assert "; queued jobs are lost" in including.stderr


@pytest.mark.parametrize("options", ["", "--prefix arq:", "--pattern arq:job:*"])
async def test_removing_jobs_needs_the_target(manage: Manage, redis_url: str, options: str) -> None:
    """A plain --confirm is refused for any pattern."""
    fill(redis_url, ["arq:job:1"])

    refused = await manage(f"cache clear {options} --include-jobs --confirm")
    left = keys_in(redis_url)
    done = await manage(f"cache clear {options} --include-jobs --confirm={target(manage)}")

    assert (77, [b"arq:job:1"]) == (refused.exit_code, left)
    assert f"--confirm={target(manage)}\n" in refused.stderr
    assert (0, []) == (done.exit_code, keys_in(redis_url))


async def test_pattern_and_prefix_together_are_a_usage_error(manage: Manage) -> None:
    """Before the operator has to confirm."""
    refused = await manage("cache clear --pattern a* --prefix a --confirm")

    assert 2 == refused.exit_code
    assert "--pattern and --prefix can't be used together" in refused.stderr


async def test_no_command_blocks_the_server(manage: Manage, redis_url: str) -> None:
    """No KEYS, DEL or FLUSHDB, and not one command for each key."""
    fill(redis_url, [f"user:{number}" for number in range(3_000)])
    ask(redis_url, "CONFIG", "RESETSTAT")

    await manage(f"cache clear --confirm={target(manage)}")

    used = ask(redis_url, "INFO", "commandstats")
    assert not {"cmdstat_keys", "cmdstat_del", "cmdstat_flushdb", "cmdstat_flushall"} & set(used)
    assert used["cmdstat_unlink"]["calls"] <= 15


async def test_keys_written_meanwhile_are_no_error(manage: Manage, redis_url: str) -> None:
    """Every key that existed at the start is removed. Some of the new ones may remain."""
    fill(redis_url, [f"old:{number}" for number in range(20_000)])
    writing = True

    async def write() -> None:
        async with AsyncRedis.from_url(redis_url) as client:
            number = 0
            while writing:
                await client.set(f"new:{number}", 1)
                number += 1

    writer = asyncio.create_task(write())
    cleared = await manage("cache clear --pattern [on]*:* --confirm")
    writing = False
    await writer

    assert 0 == cleared.exit_code
    assert cleared.rows >= 20_000
    assert [] == [key for key in keys_in(redis_url) if key.startswith(b"old:")]


async def test_the_log_has_the_number_of_removed_keys(manage: Manage, redis_url: str) -> None:
    """In one event at the end."""
    fill(redis_url, ["user:1"])

    cleared = await manage("cache clear --prefix user: --confirm", environ={"LOG_LEVEL": "info"})

    events = [json.loads(line) for line in cleared.stderr.splitlines() if line.startswith("{")]
    (event,) = [event for event in events if event["event"] == "cache.cleared"]
    assert ("user:*", 1) == (event["pattern"], event["keys"])


async def test_keys_are_removed_while_the_database_refuses_writes(
    manage: Manage, redis_url: str, manage_environ: dict[str, str]
) -> None:
    """After a failover, for instance. The run is recorded only in the log."""
    fill(redis_url, ["user:1"])
    path = Path(manage_environ["DATABASE_URL"].removeprefix("sqlite:///"))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TRIGGER closed BEFORE INSERT ON oneoff_runs "
            "BEGIN SELECT RAISE(ABORT, 'closed'); END"
        )

    cleared = await manage("cache clear --pattern user:* --confirm")

    assert (0, []) == (cleared.exit_code, keys_in(redis_url))
    assert "warning: this run is recorded in the log only" in cleared.stderr


async def test_keys_are_removed_while_the_database_is_down(manage: Manage, redis_url: str) -> None:
    """With a warning. If a record is required, the run is refused and removes nothing."""
    fill(redis_url, ["user:1"])
    down = {"DATABASE_URL": "postgres://shop@127.0.0.1:9/shop", "ENVIRONMENT": "test"}
    line = "cache clear --prefix user: --confirm --json"

    refused = await manage(line, environ={**down, "AUDIT_REQUIRED": "true"})
    left = keys_in(redis_url)
    cleared = await manage(line, environ=down)

    assert (77, "audit-required") == (refused.exit_code, refused.json["error"]["code"])
    assert [b"user:1"] == left
    assert (0, []) == (cleared.exit_code, keys_in(redis_url))
    assert cleared.json["warnings"][0].startswith("this run is recorded in the log only: ")


async def test_on_a_cluster_every_node_is_cleared(
    on_cluster: Manage, redis_cluster: RedisCluster
) -> None:
    """Only matching keys are removed. The dry run reports the same number."""
    fill_cluster(redis_cluster, [*(f"user:{number}" for number in range(3_000)), "other:1"])

    preview = await on_cluster("cache clear --pattern user:* --dry-run")
    before = len(keys_in_cluster(redis_cluster))
    cleared = await on_cluster("cache clear --pattern user:* --confirm")

    assert (0, 3_000, 3_001) == (preview.exit_code, preview.rows, before), preview.stderr
    assert (0, 3_000) == (cleared.exit_code, cleared.rows), cleared.stderr
    assert [b"other:1"] == keys_in_cluster(redis_cluster)


async def test_on_a_cluster_a_prefix_is_taken_literally(
    on_cluster: Manage, redis_cluster: RedisCluster
) -> None:
    """As on one server."""
    fill_cluster(redis_cluster, TRICKY)

    cleared = await on_cluster("cache clear --prefix a* --confirm")

    assert 2 == cleared.rows
    assert sorted(set(TRICKY) - {b"a*b:1", b"a*b:2"}) == keys_in_cluster(redis_cluster)


async def test_a_key_that_has_moved_to_another_node_is_removed(
    on_cluster: Manage, redis_cluster: RedisCluster
) -> None:
    """On the node that has it now."""
    fill_cluster(redis_cluster, ["moving"])
    slot = redis_cluster.nodes[0].ask("CLUSTER", "KEYSLOT", "moving")
    home = next(node for node in redis_cluster.nodes if keys_in(node.url))
    away = next(node for node in redis_cluster.nodes if node is not home)
    identity = {node: node.ask("CLUSTER", "MYID").decode() for node in (home, away)}
    away.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", identity[home])
    home.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", identity[away])
    try:
        home.ask(*f"MIGRATE 127.0.0.1 {away.port} moving 0 5000 AUTH".split(), home.password)
        cleared = await on_cluster("cache clear --prefix mov --confirm")
        assert (0, 1) == (cleared.exit_code, cleared.rows), cleared.stderr
    finally:
        for node in (home, away):
            node.ask("CLUSTER", "SETSLOT", slot, "STABLE")


def on_worker(manage: Manage, name: str) -> Manage:
    """Run the commands of a project whose worker has its own queue."""
    return Manage(f"tests.support.arq_shop:{name}", manage.root, manage.environ)


async def test_the_workers_own_queue_is_kept(manage: Manage, redis_url: str) -> None:
    """Its key has no known prefix. Without it, no job would run."""
    fill(redis_url, ["arq:job:1", "shop:queue", "shop:queue:health-check", "shop:queued"])
    shop = on_worker(manage, "project")
    line = "cache clear --pattern shop:*"

    preview = await shop(f"{line} --dry-run --json")
    cleared = await shop(f"{line} --confirm --json")
    left = keys_in(redis_url)
    everything = await shop(f"cache clear --include-jobs --confirm={target(manage)}")

    data = {"pattern": "shop:*", "keys": 1, "kept": 2}
    assert data == preview.json["data"] == cleared.json["data"]
    assert [b"arq:job:1", b"shop:queue", b"shop:queue:health-check"] == left
    assert "(arq:*, oneoff:*, shop:queue, shop:queue:health-check)" in cleared.json["warnings"][-1]
    assert (3, []) == (everything.rows, keys_in(redis_url))


async def test_clearing_is_refused_if_the_worker_cant_be_imported(
    manage: Manage, redis_url: str
) -> None:
    """Its queue could be among the removed keys."""
    fill(redis_url, ["shop:queue", "user:1"])
    broken = on_worker(manage, "broken")

    refused = await broken("cache clear --pattern * --dry-run")
    named = await broken("cache clear --pattern user:* --include-jobs --dry-run")

    assert (78, 0) == (refused.exit_code, named.exit_code)
    assert "--include-jobs" in refused.stderr
    assert [b"shop:queue", b"user:1"] == keys_in(redis_url)
