"""Create one of ARQ's pickles from another by copying opcodes, without loading either.

A job and its result start with the same keys: `t` (tries), `f` (function), `a` and `k` (its
arguments), `et` (time queued). The bytes of the arguments are copied unchanged. So queueing a job
again neither runs nor changes its arguments.
"""

from __future__ import annotations

import pickle
from typing import Any

from oneoff.services.jobs.pickles.reader import Pickled, UnreadableError, read

_SHARED = ["t", "f", "a", "k", "et"]
_TRIES, _ENQUEUED = 1, 9  # positions of the two values: key, value, key, value, ...
_FRAME_BYTES = 9  # opcode FRAME, and the length of the frame in 8 bytes
_END = b"u."  # SETITEMS, STOP


def job_of_result(raw: bytes, enqueued_ms: int) -> bytes:
    """Return the job that a result came from, without its tries.

    Raises:
        UnreadableError: It is not a pickle as ARQ writes it.
    """
    found = _read_checked(raw)
    begins = found.begins
    return b"".join(
        (
            _without_frames(raw, 0, begins[_TRIES], found.frames),
            _fragment(None),
            _without_frames(raw, begins[_TRIES + 1], begins[_ENQUEUED], found.frames),
            _fragment(enqueued_ms),  # the remaining keys are only in results: leave them out
            _END,
        )
    )


def result_of_job(raw: bytes, outcome: dict[str, Any]) -> bytes:
    """Return a job's pickle with the keys that make it a result.

    Args:
        raw: The job.
        outcome: Values of `t`, `s`, `r`, `st`, `ft`, `q` and `id`; `t` replaces the job's.

    Raises:
        UnreadableError: It is not a pickle as ARQ writes it.
    """
    found = _read_checked(raw)
    # The added keys go before SETITEMS. `t` is then in the dict twice, and the last one counts.
    added = b"".join(_fragment(part) for pair in outcome.items() for part in pair)
    return _without_frames(raw, 0, found.end, found.frames) + added + _END


def _read_checked(raw: bytes) -> Pickled:
    found = read(raw)
    if not isinstance(found.value, dict) or list(found.value)[: len(_SHARED)] != _SHARED:
        raise UnreadableError("not a pickle as ARQ writes it")
    # SETITEMS must add all keys at once, just before STOP: only then are the offsets complete.
    if len(found.begins) <= _ENQUEUED or raw[found.end :] != _END:
        raise UnreadableError("its keys are not added by one opcode")
    return found


def _without_frames(raw: bytes, begin: int, end: int, frames: list[int]) -> bytes:
    """Return opcodes without FRAME, because the length that it contains is no longer correct."""
    parts, at = [], begin
    for frame in frames:
        if begin <= frame < end:
            parts.append(raw[at:frame])
            at = frame + _FRAME_BYTES
    return b"".join([*parts, raw[at:end]])


def _fragment(value: Any) -> bytes:
    """Return the opcodes that push a value."""
    # Protocol 2 has no frames. It numbers memo entries from 0 and so overwrites existing ones, but
    # no opcode after the inserted ones reads those. Cut off PROTO at the start and STOP at the end.
    return pickle.dumps(value, 2)[2:-1]
