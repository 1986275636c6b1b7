"""Make one of ARQ's pickles from another by copying opcodes, without loading either.

A job and its result begin with the same keys: `t` (tries), `f` (function), `a` and `k` (its
arguments), `et` (time queued). The bytes of the arguments are copied unchanged, so queueing a job
again neither runs what is in them nor alters it.
"""

from __future__ import annotations

import pickle
import pickletools
from typing import Any, NamedTuple

from oneoff.services.jobs.pickles.reader import UnreadableError, read

_SHARED = ["t", "f", "a", "k", "et"]
_TRIES, _ENQUEUED = 1, 9  # positions of the two values among keys and values
_FRAME_BYTES = 9
_END = b"u."  # SETITEMS, STOP


class _Layout(NamedTuple):
    """Where the parts of a pickled dict are, in bytes.

    Attributes:
        begins: Where its keys and values begin: key, value, key, value, ...
        end: Where the opcode is that puts them into the dict.
        frames: Where the opcodes are that announce frames.
    """

    begins: list[int]
    end: int
    frames: list[int]


def job_of_result(raw: bytes, enqueued_ms: int) -> bytes:
    """Return the job that a result came from, as one that has never been tried.

    Raises:
        UnreadableError: It is not a pickle as ARQ writes it.
    """
    layout = _checked_layout(raw)
    begins = layout.begins
    return b"".join(
        (
            _without_frames(raw, 0, begins[_TRIES], layout.frames),
            _fragment(None),
            _without_frames(raw, begins[_TRIES + 1], begins[_ENQUEUED], layout.frames),
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
    layout = _checked_layout(raw)
    added = b"".join(_fragment(part) for pair in outcome.items() for part in pair)
    return _without_frames(raw, 0, layout.end, layout.frames) + added + _END


def _checked_layout(raw: bytes) -> _Layout:
    value = read(raw)
    if not isinstance(value, dict) or list(value)[: len(_SHARED)] != _SHARED:
        raise UnreadableError("not a pickle as ARQ writes it")
    layout = _layout(raw)
    if len(layout.begins) <= _ENQUEUED or raw[layout.end :] != _END:
        raise UnreadableError("its keys are not written at once")
    return layout


def _layout(raw: bytes) -> _Layout:
    """Find the parts of a pickled dict by what each opcode takes from the stack and adds to it.

    For a pickle that `read` accepts: no opcode takes more than there is.
    """
    stack: list[int] = []  # where each value begins, and each mark
    marks: list[int] = []  # which entries of the stack are marks
    layout = _Layout([], 0, [])
    for opcode, _, position in pickletools.genops(raw):
        at, taken = position or 0, opcode.stack_before
        first = len(stack) - len(taken)
        if pickletools.markobject in taken:
            mark = marks.pop()
            first = mark - taken.index(pickletools.markobject)
            if opcode.name == "SETITEMS":  # the last one fills the outermost dict
                layout = _Layout(stack[mark + 1 :], at, layout.frames)
        begin = stack[first] if taken else at
        stack[first:] = [begin, at][: len(opcode.stack_after)]  # DUP alone leaves two values
        if opcode.name == "MARK":
            marks.append(len(stack) - 1)
        elif marks and marks[-1] >= len(stack):  # POP has removed it
            marks.pop()
        elif opcode.name == "FRAME":
            layout.frames.append(at)
    return layout


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
