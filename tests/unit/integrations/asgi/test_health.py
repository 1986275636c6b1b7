"""The health checks of the web process: any number of callers, one question a second."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from oneoff.integrations.asgi import HealthChecks, is_ready
from oneoff.services.health import Check, Health

UP = [Check("database", Health.UP), Check("migrations", Health.UP)]
FIELDS = ("log_level", "event", "checked", "health", "detail")
DOWN = [Check("database", Health.DOWN, detail="db:5432 does not answer")]


class Services:
    """Services whose answers are known, and a clock that stands still.

    Args:
        answers: Of each question, in order.

    Attributes:
        asked: How often they were asked.
        now: The time, in seconds.
    """

    def __init__(self, *answers: list[Check]) -> None:
        self._answers = list(answers)
        self.asked, self.now = 0, 0.0
        self.checks = HealthChecks(self._answer, clock=lambda: self.now)

    async def _answer(self) -> list[Check]:
        self.asked += 1
        await asyncio.sleep(0)
        return self._answers.pop(0)


async def test_many_probes_at_once_ask_once() -> None:
    """Those who come while one asks wait for its answer."""
    services = Services(UP)

    answers = await asyncio.gather(*[services.checks.current() for _ in range(50)])

    assert (1, [UP] * 50) == (services.asked, answers)


async def test_an_answer_is_kept_for_a_second() -> None:
    """And asked for again after it."""
    services = Services(UP, DOWN)

    before = await services.checks.current()
    services.now = 0.9
    same = await services.checks.current()
    services.now = 1.0
    after = await services.checks.current()

    assert [UP, UP, DOWN] == [before, same, after]


async def test_a_started_process_stays_started() -> None:
    """And asks no more for it."""
    services = Services(DOWN, UP)

    before = await services.checks.has_started()
    services.now = 1.0
    started = [await services.checks.has_started() for _ in range(3)]

    assert (False, [True] * 3, 2) == (before, started, services.asked)


async def test_a_change_is_logged_once() -> None:
    """With the detail that the answer leaves out; what is well from the start is no change."""
    services = Services(UP, DOWN, DOWN, UP)
    with capture_logs() as lines:
        for _ in range(4):
            await services.checks.current()
            services.now += 1

    assert [
        ("warning", "health.changed", "database", "down", "db:5432 does not answer"),
        ("info", "health.changed", "database", "up", ""),
    ] == [tuple(line[name] for name in FIELDS) for line in lines]


@pytest.mark.parametrize(
    ("checks", "ready"),
    [
        (UP, True),
        (DOWN, False),
        ([UP[0], Check("migrations", Health.BEHIND)], False),
        ([UP[0], Check("migrations", Health.WRONG)], False),
        ([*UP, Check("redis", Health.DOWN)], True),
    ],
)
def test_the_database_at_head_is_what_a_request_needs(checks: Any, ready: bool) -> None:  # noqa: FBT001
    """Redis is not: most requests can be served without it."""
    assert ready is is_ready(checks)
