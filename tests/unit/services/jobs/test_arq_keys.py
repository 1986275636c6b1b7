"""The names of ARQ's keys."""

from __future__ import annotations

from arq import constants

from oneoff.services.jobs import arq_keys


def test_key_prefixes_match_those_of_arq() -> None:
    """They are repeated, so that listing jobs does not import ARQ."""
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
