"""`cache inspect`."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from oneoff.services.cache import inspection
from oneoff.testing import Finished, Manage
from tests.support.redis_project import ask, environ_on, fill, fill_cluster
from tests.support.servers import RedisCluster

API_KEY = "sk_live_51abcdef"


@pytest.fixture
def manage_environ(migrated_sqlite: Path, tmp_path: Path, redis_url: str) -> dict[str, str]:
    """Run `manage` on an empty Redis."""
    return environ_on(redis_url, migrated_sqlite, tmp_path)


def rows(finished: Finished) -> dict[str, Any]:
    """Return the facts by key."""
    assert 0 == finished.exit_code, finished.stderr
    return {row["key"]: row for row in finished.json["data"]}


async def test_every_type_shows_the_start_of_its_value(manage: Manage, redis_url: str) -> None:
    """With type, time to live, size and encoding."""
    ask(redis_url, "SET", "text", "hello", "EX", 100)
    ask(redis_url, "RPUSH", "list", *"abcdefg")
    ask(redis_url, "SADD", "set", "b", "a")
    ask(redis_url, "ZADD", "zset", 1, "one", 2, "two")
    ask(redis_url, "HSET", "hash", "name", "ada")
    ask(redis_url, "XADD", "stream", "1-1", "field", "value")

    found = rows(await manage("cache inspect --json"))

    shown = {key: (row["type"], row["value"]) for key, row in found.items()}
    assert {
        "hash": ("hash", "name=ada"),
        "list": ("list", "a, b, c, d, e, …"),
        "set": ("set", "a, b"),
        "stream": ("stream", "field=value"),
        "text": ("string", "hello"),
        "zset": ("zset", "one, two"),
    } == shown
    assert list(shown) == sorted(shown)
    assert (100, "embstr") == (found["text"]["ttl"], found["text"]["encoding"])
    assert found["text"]["bytes"] > 0
    assert found["hash"]["ttl"] is None


async def test_secrets_are_masked(manage: Manage, redis_url: str) -> None:
    """By the name of a key or field, in JSON, and by secrets of the environment."""
    ask(redis_url, "SET", "user:1:password", "hunter2-long")
    ask(redis_url, "HSET", "login", "user", "ada", "api_key", API_KEY)
    ask(redis_url, "SET", "json", f'{{"user": "ada", "access_token": "{API_KEY}"}}')
    ask(redis_url, "SET", "plain", "x" * 50 + "planted-in-the-environment")
    ask(redis_url, "SET", "job", pickle.dumps({"password": "pickled-password"}))

    environ = {"STRIPE_SECRET": "planted-in-the-environment"}
    shown = await manage("cache inspect -vv --debug", environ=environ)

    hidden = ("hunter2", API_KEY, "sk_live", "planted", "pickled-password")
    assert [] == [secret for secret in hidden if secret in shown.stdout + shown.stderr]
    assert "user=ada" in shown.stdout
    assert "(pickle)" in shown.stdout


async def test_a_value_is_truncated_to_one_line(manage: Manage, redis_url: str) -> None:
    """Of 60 characters. Control characters and invalid bytes are escaped."""
    ask(redis_url, "SET", "long", "x" * 5_000)
    ask(redis_url, "SET", "bytes", b"\xff\x00\x1b[2J\n")

    found = rows(await manage("cache inspect --json"))

    assert "x" * 59 + "…" == found["long"]["value"]
    assert r"\xff\x00\x1b[2J\n" == found["bytes"]["value"]


async def test_the_items_of_a_large_collection_are_not_fetched(
    manage: Manage, redis_url: str
) -> None:
    """A single item can be huge."""
    ask(redis_url, "RPUSH", "list", "x" * 2_000_000)

    (row,) = rows(await manage("cache inspect --json")).values()

    assert row["value"] is None
    assert row["bytes"] > 2_000_000


async def test_it_says_when_more_keys_match(manage: Manage, redis_url: str) -> None:
    """Not if the number of matching keys is exactly the limit."""
    fill(redis_url, [f"user:{number}" for number in range(5)])

    some = await manage("cache inspect user:* --limit 4")
    exactly = await manage("cache inspect user:* --limit 5")

    assert some.stdout.endswith("\n4 keys; more keys match: raise --limit\n")
    assert exactly.stdout.endswith("\n5 keys\n")


async def test_a_key_without_special_characters_is_looked_up(
    manage: Manage, redis_url: str
) -> None:
    """No SCAN is needed for one key."""
    fill(redis_url, ["user:1", "user:12"])
    ask(redis_url, "CONFIG", "RESETSTAT")

    found = rows(await manage("cache inspect user:1 --json"))

    assert ["user:1"] == list(found)
    assert "cmdstat_scan" not in ask(redis_url, "INFO", "commandstats")


async def test_a_search_that_finds_few_keys_stops_early(
    manage: Manage, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a limited number of SCANs, with a warning."""
    fill(redis_url, [f"user:{number}" for number in range(5_000)])
    monkeypatch.setattr(inspection, "ROUNDS", 2)

    shown = await manage("cache inspect nothing:*")

    assert 0 == shown.exit_code
    assert "no key matches 'nothing:*'" in shown.stdout
    assert "stopped after scanning 1,000 keys; more may match" in shown.stderr


async def test_no_key_is_no_error(manage: Manage) -> None:
    """It says that none matches."""
    shown = await manage("cache inspect nothing")

    assert ("no key matches 'nothing'\n", 0) == (shown.stdout, shown.exit_code)


async def test_a_limit_below_1_is_a_usage_error(manage: Manage) -> None:
    """As on every command with a limit."""
    refused = await manage("cache inspect --limit 0")

    assert 2 == refused.exit_code
    assert "--limit 0 is less than 1" in refused.stderr


@pytest.mark.parametrize("pattern", ["user:*", "user:7"])
async def test_on_a_cluster_all_nodes_are_asked(
    on_cluster: Manage, redis_cluster: RedisCluster, pattern: str
) -> None:
    """For a pattern, and for one key on any node."""
    fill_cluster(redis_cluster, [f"user:{number}" for number in range(9)])

    found = rows(await on_cluster(f"cache inspect {pattern} --json"))

    expected = [f"user:{number}" for number in range(9)] if "*" in pattern else ["user:7"]
    assert expected == list(found)


@pytest.mark.parametrize("pattern", ["*", "secret"])
async def test_a_key_that_an_acl_hides_is_shown_without_its_value(
    manage: Manage, redis_url: str, pattern: str
) -> None:
    """The other keys are shown as usual; so is the rest of a key whose value can't be read."""
    fill(redis_url, ["shop:1", "secret"])
    ask(redis_url, "RPUSH", "shop:2", "x")
    rules = ("resetkeys", "~shop:*", "+@all", "-lrange")
    ask(redis_url, "ACL", "SETUSER", "part", "on", ">part-pw", *rules)
    url = f"redis://part:part-pw@{redis_url.rpartition('@')[2].removeprefix('redis://')}"
    try:
        found = rows(await manage(f"cache inspect '{pattern}' --json", environ={"REDIS_URL": url}))
    finally:
        ask(redis_url, "ACL", "DELUSER", "part")

    shown = {key: (row["type"], row["value"]) for key, row in found.items()}
    expected = {
        "secret": (None, "(no permission)"),
        "shop:1": ("string", "x"),
        "shop:2": ("list", "(no permission)"),
    }
    assert {key: expected[key] for key in shown} == shown
    assert (3 if pattern == "*" else 1) == len(shown)
