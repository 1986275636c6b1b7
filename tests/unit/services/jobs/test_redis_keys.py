"""The names of ARQ's keys."""

from __future__ import annotations

from arq import constants

from oneoff.services.jobs import redis_keys


def test_the_names_are_those_of_arq() -> None:
    """Spelled out, so that a listing need not import it."""
    assert (
        constants.job_key_prefix,
        constants.result_key_prefix,
        constants.in_progress_key_prefix,
        constants.retry_key_prefix,
        constants.abort_jobs_ss,
    ) == (
        redis_keys.JOB,
        redis_keys.RESULT,
        redis_keys.IN_PROGRESS,
        redis_keys.RETRY,
        redis_keys.ABORT,
    )
