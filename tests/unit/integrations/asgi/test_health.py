"""The health checks of the web process ask the services at most once a second."""

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
    """Services with prepared answers, and a clock that the test sets.

    Args:
        answers: The answers, in order.

    Attributes:
        asked: How often the services were asked.
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


async def test_many_probes_at_a_time_ask_the_services_once() -> None:
    """The other callers wait for the answer to the first."""
    services = Services(UP)

    answers = await asyncio.gather(*[services.checks.current() for _ in range(50)])

    assert (1, [UP] * 50) == (services.asked, answers)


async def test_an_answer_is_kept_for_a_second() -> None:
    """After that, the services are asked again."""
    services = Services(UP, DOWN)

    before = await services.checks.current()
    services.now = 0.9
    same = await services.checks.current()
    services.now = 1.0
    after = await services.checks.current()

    assert [UP, UP, DOWN] == [before, same, after]


async def test_a_started_process_stays_started() -> None:
    """The services are not asked again."""
    services = Services(DOWN, UP)

    before = await services.checks.has_started()
    services.now = 1.0
    started = [await services.checks.has_started() for _ in range(3)]

    assert (False, [True] * 3, 2) == (before, started, services.asked)


async def test_a_change_is_logged_once() -> None:
    """With the detail, which the response omits. A healthy first answer is not a change."""
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
def test_requests_need_the_database_at_its_head(checks: Any, ready: bool) -> None:  # noqa: FBT001
    """Most requests can be served without Redis."""
    assert ready is is_ready(checks)
