"""Make one of ARQ's pickles from another by copying opcodes, without loading either.

A job and its result begin with the same keys: `t` (tries), `f` (function), `a` and `k` (its
arguments), `et` (time queued). The bytes of the arguments are copied unchanged, so queueing a job
again neither runs what is in them nor alters it.
"""

from __future__ import annotations

import pickle
from typing import Any

from oneoff.services.jobs.pickles.reader import Pickled, UnreadableError, read

_SHARED = ["t", "f", "a", "k", "et"]
_TRIES, _ENQUEUED = 1, 9  # positions of the two values among keys and values
_FRAME_BYTES = 9
_END = b"u."  # SETITEMS, STOP


def job_of_result(raw: bytes, enqueued_ms: int) -> bytes:
    """Return the job that a result came from, as one that has never been tried.

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
            _fragment(enqueued_ms),  # the keys after this one are those of a result: left out
            _END,
        )
    )


def result_of_job(raw: bytes, outcome: dict[str, Any]) -> bytes:
    """Return a job's pickle with the keys that make it a result.

    Args:
        raw: The job.
        outcome: `t`, `s`, `r`, `st`, `ft`, `q`, `id`; `t` replaces that of the job.

    Raises:
        UnreadableError: It is not a pickle as ARQ writes it.
    """
    found = _read_checked(raw)
    added = b"".join(_fragment(part) for pair in outcome.items() for part in pair)
    return _without_frames(raw, 0, found.end, found.frames) + added + _END


def _read_checked(raw: bytes) -> Pickled:
    found = read(raw)
    if not isinstance(found.value, dict) or list(found.value)[: len(_SHARED)] != _SHARED:
        raise UnreadableError("not a pickle as ARQ writes it")
    if len(found.begins) <= _ENQUEUED or raw[found.end :] != _END:
        raise UnreadableError("its keys are not written at once")
    return found


def _without_frames(raw: bytes, begin: int, end: int, frames: list[int]) -> bytes:
    """Return opcodes without FRAME: the length that it announces is no longer right."""
    parts, at = [], begin
    for frame in frames:
        if begin <= frame < end:
            parts.append(raw[at:frame])
            at = frame + _FRAME_BYTES
    return b"".join([*parts, raw[at:end]])


def _fragment(value: Any) -> bytes:
    """Return the opcodes that push a value.

    Protocol 2 has no frames. It numbers what it memoizes from 0 and so overwrites entries of the
    memo, but nothing after the inserted opcodes reads those.
    """
    return pickle.dumps(value, 2)[2:-1]
