"""The names of ARQ's keys."""

from __future__ import annotations

from arq import constants

from oneoff.services.jobs import arq_keys


def test_the_names_are_those_of_arq() -> None:
    """Spelled out, so that a listing need not import it."""
    assert (
        constants.job_key_prefix,
        constants.result_key_prefix,
        constants.in_progress_key_prefix,
        constants.retry_key_prefix,
        constants.abort_jobs_ss,
    ) == (
        arq_keys.JOB,
        arq_keys.RESULT,
        arq_keys.IN_PROGRESS,
        arq_keys.RETRY,
        arq_keys.ABORT,
    )
