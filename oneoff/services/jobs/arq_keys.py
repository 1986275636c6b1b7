"""The keys under which ARQ keeps jobs in Redis.

| key | holds |
| --- | --- |
| `<queue>` | sorted set: ids of jobs that have not ended, by due time in milliseconds |
| `arq:job:<id>` | pickle: function, arguments, time queued; expires some time after the due time |
| `arq:in-progress:<id>` | mark that a worker runs the job; expires if the worker dies |
| `arq:retry:<id>` | counter: how often the job has been started |
| `arq:result:<id>` | pickle: the job and how it ended; expires after `keep_result` |
| `arq:abort` | sorted set: ids of jobs to abort, by time of the request |
| `<queue>:health-check` | text: the heartbeat of the queue's workers |

A job stays in the queue while it runs and between its tries. If no worker takes it in time,
`arq:job:<id>` expires, but its entry in the queue remains.

The prefixes are repeated here because importing ARQ takes 120 ms. A test compares them with ARQ's.
"""

from __future__ import annotations

from collections.abc import Iterable

JOB = "arq:job:"
RESULT = "arq:result:"
IN_PROGRESS = "arq:in-progress:"
RETRY = "arq:retry:"
ABORT = "arq:abort"


def job(job_id: str | bytes) -> bytes:
    """Return the key of the job itself."""
    return _key(JOB, job_id)


def result(job_id: str | bytes) -> bytes:
    """Return the key of the result; results of all queues share the prefix."""
    return _key(RESULT, job_id)


def in_progress(job_id: str | bytes) -> bytes:
    """Return the key of the mark that a worker runs the job."""
    return _key(IN_PROGRESS, job_id)


def retry(job_id: str | bytes) -> bytes:
    """Return the key of the counter of tries."""
    return _key(RETRY, job_id)


def id_of_result(key: bytes) -> str:
    """Return the id in the key of a result."""
    return key.decode(errors="backslashreplace").removeprefix(RESULT)


def keys(prefix: str, job_ids: Iterable[bytes]) -> list[bytes]:
    """Return the keys of several jobs; much faster than one call for each job of a page."""
    encoded = prefix.encode()
    return [encoded + job_id for job_id in job_ids]


def _key(prefix: str, job_id: str | bytes) -> bytes:
    return prefix.encode() + (job_id if isinstance(job_id, bytes) else job_id.encode())
