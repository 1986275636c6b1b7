"""Make one of ARQ's pickles out of another, without loading either.

A job and its result begin alike: `t` (try), `f` (function), `a`, `k` (its arguments), `et` (time
queued). The bytes of the arguments are copied as they are, so that queueing a job again neither
runs what stands in them nor changes it.
"""

from __future__ import annotations

import pickle
from typing import Any

from oneoff.services.jobs.pickles.reader import Pickled, UnreadableError, read

_SHARED = ["t", "f", "a", "k", "et"]
_TRY, _ENQUEUED = 1, 9  # positions of the two values among keys and values
_FRAME_BYTES = 9
_END = b"u."  # SETITEMS, STOP


def job_of_result(raw: bytes, enqueued_ms: int) -> bytes:
    """Return the job that a result came from, as one that has never been tried.

    Raises:
        UnreadableError: It is not a pickle as ARQ writes it.
    """
    found = _checked(raw)
    begins = found.starts
    return b"".join(
        (
            _without_frames(raw, 0, begins[_TRY], found.frames),
            _fragment(None),
            _without_frames(raw, begins[_TRY + 1], begins[_ENQUEUED], found.frames),
            _fragment(enqueued_ms),  # whatever stands behind it makes a result
            _END,
        )
    )


def result_of_job(raw: bytes, outcome: dict[str, Any]) -> bytes:
    """Return a job's pickle with what makes it a result.

    Args:
        raw: The job.
        outcome: `t`, `s`, `r`, `st`, `ft`, `q`, `id`; a later key wins.

    Raises:
        UnreadableError: It is not a pickle as ARQ writes it.
    """
    found = _checked(raw)
    added = b"".join(_fragment(part) for pair in outcome.items() for part in pair)
    return _without_frames(raw, 0, found.end, found.frames) + added + _END


def _checked(raw: bytes) -> Pickled:
    found = read(raw)
    if not isinstance(found.value, dict) or list(found.value)[: len(_SHARED)] != _SHARED:
        raise UnreadableError("not a pickle as ARQ writes it")
    if len(found.starts) <= _ENQUEUED or raw[found.end :] != _END:
        raise UnreadableError("its keys are not written at once")
    return found


def _without_frames(raw: bytes, begin: int, end: int, frames: list[int]) -> bytes:
    """Return a stretch of opcodes; a frame announces a length, which is another one now."""
    parts, at = [], begin
    for frame in frames:
        if begin <= frame < end:
            parts.append(raw[at:frame])
            at = frame + _FRAME_BYTES
    return b"".join([*parts, raw[at:end]])


def _fragment(value: Any) -> bytes:
    """Return the opcodes that push a value.

    Protocol 2 has no frames and numbers what it keeps by itself: such numbers may be taken
    already, but whatever had them before is not asked for again behind the splice.
    """
    return pickle.dumps(value, 2)[2:-1]
