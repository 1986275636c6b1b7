"""However a run is disturbed, its exit code, message and record agree with what happened.

`make faults` disturbs the same commands, and every command that oneoff ships, at messages that are
spread over the entire run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from tests.acceptance.conftest import AtHead
from tests.support.database import query
from tests.support.moments.deeds import PROJECT, deeds
from tests.support.moments.launch import Launcher, launching
from tests.support.moments.trial import MANNERS, Bench, Deed, Fault, Moment, Tally
from tests.support.servers import Postgres, Proxy, Redis, proxying, running_redis
from tests.support.servers.proxy import Fate

WORK = b"INSERT INTO deed"
CLOSED = b"oneoff_runs SET"
COMMIT = b"COMMIT;"
COMMITTED = (WORK, CLOSED, COMMIT)
ROLLED_BACK = ("session", "own resource", "unsupported", "effect")
"""Deeds with one transaction."""
REPEATABLE = ("plan", "database", "read")


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    """Run a process that starts the commands."""
    with launching() as started:
        yield started


@pytest.fixture(scope="module")
def own_redis() -> Iterator[Redis]:
    """Start a Redis whose keys may be removed."""
    with running_redis() as redis:
        yield redis


@pytest.fixture(scope="module")
def proxies(postgres_server: Postgres, own_redis: Redis) -> Iterator[Sequence[Proxy]]:
    """Run a proxy for each server."""
    with proxying(postgres_server.port) as database, proxying(own_redis.port) as cache:
        yield database, cache


@pytest.fixture
def commands(
    at_head: AtHead,
    environ: dict[str, str],
    postgres_url: str,
    own_redis: Redis,
    proxies: Sequence[Proxy],
) -> dict[str, Deed]:
    """Return the commands to disturb, on a migrated database."""
    at_head.bring(postgres_url, PROJECT)
    return deeds(postgres_url, own_redis.url, environ, proxies)


@pytest.fixture
def bench(launcher: Launcher) -> Bench:
    """Return what disturbs them."""
    return Bench(launcher)


@pytest.mark.parametrize("fault", Fault)
def test_the_work_is_done_once_and_reported_as_it_is(
    bench: Bench, commands: dict[str, Deed], fault: Fault
) -> None:
    """Before the commit, in it, and while the run closes what it has opened."""
    tally = Tally()

    for after, marks in ((0, COMMITTED[:1]), (0, COMMITTED[:2]), (0, COMMITTED), (1, COMMITTED)):
        bench.suffer(commands["session"], fault, Moment(after, marks), tally)

    assert ([], 0, 4) == (tally.wrong, tally.twice, tally.tried)


@pytest.mark.parametrize("fault", [Fault.SIGTERM, Fault.LATE_ANSWER, Fault.LOST_ANSWER])
def test_a_record_is_closed_although_its_commit_was_disturbed(
    bench: Bench, commands: dict[str, Deed], postgres_url: str, fault: Fault
) -> None:
    """The server has committed the row, but the run did not get the answer."""
    tally = Tally()

    bench.suffer(commands["session"], fault, Moment(1, (b"INSERT INTO oneoff_runs",)), tally)

    assert ([], 0, 1) == (tally.wrong, tally.twice, tally.tried)
    left_open = "SELECT count(*) FROM oneoff_runs WHERE status IN ('started', 'abandoned')"
    assert [(0,)] == query(postgres_url, left_open)


@pytest.mark.parametrize("fault", [Fault.SIGTERM, Fault.LOST_ANSWER])
@pytest.mark.parametrize("name", ["failing close", *ROLLED_BACK[1:]])
def test_work_of_each_kind_of_resource_is_done_once(
    bench: Bench, commands: dict[str, Deed], name: str, fault: Fault
) -> None:
    """At the commit, and while the run closes what it has opened."""
    tally = Tally()

    for after in (0, 1):
        bench.suffer(commands[name], fault, Moment(after, COMMITTED), tally)

    assert ([], 0, 2) == (tally.wrong, tally.twice, tally.tried)


@pytest.mark.parametrize("name", [*ROLLED_BACK, *REPEATABLE, "batch"])
def test_work_is_done_once_though_it_can_not_be_shown_or_closed(
    bench: Bench, commands: dict[str, Deed], name: str
) -> None:
    """Standard output is closed, has no reader or is not UTF-8, or a resource can't be closed."""
    tally = Tally()

    for manner in MANNERS:
        bench.bear(commands[name], manner, tally)

    assert ([], 0, len(MANNERS)) == (tally.wrong, tally.twice, tally.tried)


@pytest.mark.parametrize("fault", Fault)
def test_work_that_can_not_be_rolled_back_is_not_repeated(
    bench: Bench, commands: dict[str, Deed], fault: Fault
) -> None:
    """Once `handle` has returned, the work is done, whatever happens while the run closes."""
    tally = Tally()

    bench.suffer(commands["plan"], fault, Moment(1, (b"INCR",)), tally)

    assert ([], 0, 1) == (tally.wrong, tally.twice, tally.tried)


@pytest.mark.parametrize("fault", [Fault.SIGTERM, Fault.LOST_ANSWER])
def test_a_batch_does_each_row_once(bench: Bench, commands: dict[str, Deed], fault: Fault) -> None:
    """Its checkpoint decides, not the exit code."""
    tally = Tally()

    for after in (0, 2, 4):
        bench.suffer(commands["batch"], fault, Moment(after, (b"UPDATE tick",)), tally)

    assert ([], 0, 3) == (tally.wrong, tally.twice, tally.tried)


def test_if_the_record_can_not_be_read_the_exit_code_is_1(
    bench: Bench, commands: dict[str, Deed]
) -> None:
    """The record is not overwritten, so that it shows later that the work was committed."""
    deed, marks = commands["session"], list(COMMITTED)

    def cut_off(message: bytes) -> Fate:
        if not marks or marks[0] not in message:
            return Fate.PASS
        del marks[0]
        return Fate.PASS if marks else Fate.OUTAGE

    ended = bench.run(deed, cut_off)

    assert "error[commit-unknown]" in ended.stderr
    assert "audit list: if this run has succeeded, its work was saved" in ended.stderr
    assert (1, 1, "succeeded") == (ended.code, deed.count(""), deed.record().status)
