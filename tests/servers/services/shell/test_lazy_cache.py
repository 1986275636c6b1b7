"""The name `cache` in a shell: a Redis client that follows the mode of the run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from oneoff.testing import Manage
from tests.support.redis_project import environ_on, fill, keys_in


@pytest.fixture
def manage_environ(migrated_sqlite: Path, tmp_path: Path, redis_url: str) -> dict[str, str]:
    """Return the environment variables of `manage`, with an empty Redis."""
    return environ_on(redis_url, migrated_sqlite, tmp_path)


@pytest.fixture
def without_redis(manage_project: tuple[str, str], manage_environ: dict[str, str]) -> Manage:
    """Return `manage` without REDIS_URL."""
    return Manage(*manage_project, {**manage_environ, "REDIS_URL": ""})


async def test_a_script_reads_the_cache(
    manage: Manage, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name is a client of the project's Redis."""
    fill(redis_url, ["a"])

    outcome = await manage(["shell", "-c", "print(await cache.get('a'))"])

    assert (0, "b'x'\n") == (outcome.exit_code, capsys.readouterr().out), outcome.stderr


async def test_a_prompt_reads_the_cache_and_keeps_the_client(
    manage: Manage, redis_url: str
) -> None:
    """A pipeline works, and a function that was defined earlier finds the same client."""
    fill(redis_url, ["a"])
    answers = [
        "def twice(): return cache.pipeline().get('a').get('a')",
        "",
        "await twice().execute()",
    ]

    outcome = await manage("shell", answers=answers)

    assert (0, "[b'x', b'x']\n") == (outcome.exit_code, outcome.stdout), outcome.stderr


async def test_a_read_only_script_cannot_write_to_the_cache(manage: Manage, redis_url: str) -> None:
    """The run fails even if the script catches the error."""
    code = "try:\n    await cache.set('a', 1)\nexcept BaseException:\n    pass"

    outcome = await manage(["shell", "-c", code])

    assert 1 == outcome.exit_code
    assert "error[read-only]: a read-only run tried to send SET to Redis" in outcome.stderr
    assert [] == keys_in(redis_url)


async def test_a_refused_write_at_the_prompt_does_not_fail_the_run(
    manage: Manage, redis_url: str
) -> None:
    """The user sees the error and the option that allows writes."""
    outcome = await manage("shell", answers=["await cache.set('a', 1)", "1 + 1"])

    assert (0, "2\n") == (outcome.exit_code, outcome.stdout), outcome.stderr
    assert "this shell is read-only: exit, and start shell --write\n" in outcome.stderr
    assert [] == keys_in(redis_url)


async def test_write_allows_writing_to_the_cache(manage: Manage, redis_url: str) -> None:
    """The write takes effect at once, because Redis is not part of the transaction."""
    outcome = await manage(["shell", "--write", "--confirm", "-c", "await cache.set('a', 1)"])

    assert (0, [b"a"]) == (outcome.exit_code, keys_in(redis_url)), outcome.stderr


async def test_a_dry_run_cannot_write_to_the_cache(manage: Manage, redis_url: str) -> None:
    """A rollback would not undo the write."""
    outcome = await manage(["shell", "--write", "--dry-run", "-c", "await cache.set('a', 1)"])

    assert 1 == outcome.exit_code
    assert [] == keys_in(redis_url)


async def test_using_the_cache_without_redis_url_is_an_error(without_redis: Manage) -> None:
    """The exit code is that of a missing setting."""
    outcome = await without_redis(["shell", "-c", "await cache.get('a')"])

    assert 78 == outcome.exit_code
    assert "error[redis-not-configured]: REDIS_URL is not set\n" in outcome.stderr


async def test_without_redis_url_the_name_can_be_assigned(without_redis: Manage) -> None:
    """The banner does not list it either."""
    outcome = await without_redis("shell", answers=["cache = {'a': 1}", "cache['a']"])

    assert (0, "1\n") == (outcome.exit_code, outcome.stdout), outcome.stderr
    ready = next(line for line in outcome.stderr.splitlines() if line.startswith("ready: "))
    assert "cache" not in ready.removeprefix("ready: ").split(", ")


async def test_an_unreachable_redis_fails_only_inputs_that_use_it(
    manage_project: tuple[str, str], manage_environ: dict[str, str]
) -> None:
    """The error names the server, and the session continues."""
    manage = Manage(*manage_project, {**manage_environ, "REDIS_URL": "redis://127.0.0.1:1/0"})

    outcome = await manage("shell", answers=["1 + 1", "await cache.get('a')", "'on'"])

    assert (0, "2\n'on'\n") == (outcome.exit_code, outcome.stdout), outcome.stderr
    assert "127.0.0.1:1" in outcome.stderr


def test_a_shell_that_does_not_name_the_cache_does_not_import_redis(
    manage_environ: dict[str, str],
) -> None:
    """Even if REDIS_URL is set, because a shell must start fast."""
    code = "import sys; print('redis' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "-c", code],
        cwd=Path(__file__).parents[4],
        env={"PATH": os.environ["PATH"], **manage_environ},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "False\n") == (done.returncode, done.stdout), done.stderr
