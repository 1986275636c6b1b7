"""However a run is disturbed, its exit code, message and record agree with what happened.

`make faults` disturbs the same commands at every message that they send.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.conftest import AtHead
from tests.support.moments import (
    PROJECT,
    Deed,
    Fault,
    Moment,
    Tally,
    deeds,
    end,
    start,
    suffer,
)
from tests.support.servers import Postgres, Proxy, Redis, running_redis
from tests.support.servers.proxy import Fate

WORK = b"INSERT INTO deed"
CLOSED = b"oneoff_runs SET"
COMMIT = b"COMMIT;"


@pytest.fixture(scope="module")
def own_redis() -> Iterator[Redis]:
    """Start a Redis whose keys may be removed."""
    with running_redis() as redis:
        yield redis


@pytest.fixture
def commands(
    at_head: AtHead,
    environ: dict[str, str],
    postgres_url: str,
    postgres_server: Postgres,
    own_redis: Redis,
) -> dict[str, Deed]:
    """Return the commands to disturb, on a migrated database."""
    at_head.bring(postgres_url, PROJECT)
    return deeds(postgres_url, postgres_server.port, own_redis, environ)


FAULTS = [
    *(("session", fault) for fault in Fault),
    ("failing close", Fault.SIGTERM),
    ("failing close", Fault.LOST_ANSWER),
]


@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_the_work_is_done_once_and_reported_as_it_is(
    commands: dict[str, Deed], name: str, fault: Fault
) -> None:
    """Before the commit, in it, and while the run closes what it has opened."""
    deed, tally = commands[name], Tally()
    commit = (WORK, CLOSED, COMMIT)

    for after, marks in ((0, (WORK,)), (0, (WORK, CLOSED)), (0, commit), (1, commit)):
        suffer(deed, Moment(after, marks), fault, tally)

    assert ([], 0, 4) == (tally.wrong, tally.twice, tally.tried)


@pytest.mark.parametrize("fault", Fault)
def test_work_that_can_not_be_rolled_back_is_not_repeated(
    commands: dict[str, Deed], fault: Fault
) -> None:
    """Once `handle` has returned, the work is done, whatever happens while the run closes."""
    deed, tally = commands["plan"], Tally()

    suffer(deed, Moment(1, (b"INCR",)), fault, tally)

    assert ([], 0, 1) == (tally.wrong, tally.twice, tally.tried)


@pytest.mark.parametrize("fault", [Fault.SIGTERM, Fault.LOST_ANSWER])
def test_a_batch_does_each_row_once(commands: dict[str, Deed], fault: Fault) -> None:
    """Its checkpoint decides, not the exit code."""
    deed, tally = commands["batch"], Tally()

    for after in (0, 2, 4):
        suffer(deed, Moment(after, (b"UPDATE tick",)), fault, tally)

    assert ([], 0, 3) == (tally.wrong, tally.twice, tally.tried)


def test_if_the_record_can_not_be_read_the_exit_code_is_1(
    commands: dict[str, Deed], postgres_proxy: Proxy
) -> None:
    """The record is not overwritten, so that it shows later that the work was committed."""
    deed, marks = commands["session"], [WORK, CLOSED, COMMIT]

    def cut_off(message: bytes) -> Fate:
        if not marks or marks[0] not in message:
            return Fate.PASS
        del marks[0]
        return Fate.PASS if marks else Fate.OUTAGE

    deed.prepare()
    postgres_proxy.decide(cut_off)
    url = {"DATABASE_URL": postgres_proxy.url(deed.environ["DATABASE_URL"])}
    ended = end(start(deed, deed.words, {**deed.environ, **url}))

    assert "error[commit-unknown]" in ended.stderr
    assert "audit list: if this run has succeeded, its work was saved" in ended.stderr
    assert (1, 1, "succeeded") == (ended.code, deed.count(), deed.status())
