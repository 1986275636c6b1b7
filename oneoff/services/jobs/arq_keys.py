"""The names under which ARQ keeps a job in Redis.

A job is a member of its queue, a sorted set whose scores are due times in milliseconds, and a
pickle under `arq:job:`. A worker that takes it sets `arq:in-progress:` and counts in `arq:retry:`;
when it has ended, one pickle under `arq:result:` remains. They are spelled out here so that a
listing need not import ARQ; a test compares them with its own.
"""

from __future__ import annotations

JOB = "arq:job:"
RESULT = "arq:result:"
IN_PROGRESS = "arq:in-progress:"
RETRY = "arq:retry:"
ABORT = "arq:abort"
"""The sorted set of the jobs that somebody wants aborted."""


def job(job_id: str) -> str:
    """Return the key of the job itself."""
    return JOB + job_id


def result(job_id: str) -> str:
    """Return the key of what came out of it; of any queue."""
    return RESULT + job_id


def in_progress(job_id: str) -> str:
    """Return the key that says a worker has it."""
    return IN_PROGRESS + job_id


def retry(job_id: str) -> str:
    """Return the key that counts its tries."""
    return RETRY + job_id


def id_of(key: bytes) -> str:
    """Return the id in the key of a result."""
    return key.decode(errors="backslashreplace").removeprefix(RESULT)
