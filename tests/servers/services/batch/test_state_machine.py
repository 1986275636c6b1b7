"""Batches and approvals make no illegal transition, and none gets stuck, whatever happens."""

from __future__ import annotations

import os
from typing import Any, cast

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.servers import Postgres
from tests.support.state_machine import Machine

MANY = int(os.environ.get("STATE_ORDERS", "0"))


def test_no_order_of_events_breaks_a_batch_or_an_approval(
    postgres_server: Postgres, migrated_postgres: str
) -> None:
    """A few orders, the same in each run; `make faults` tries many others."""
    run_state_machine_as_test(
        cast("Any", lambda: Machine(postgres_server, migrated_postgres)),
        settings=settings(
            max_examples=MANY or 4,
            stateful_step_count=30 if MANY else 12,
            deadline=None,
            derandomize=not MANY,
            database=None,
            phases=(Phase.generate,),  # to shrink would take long, and each order is short
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
