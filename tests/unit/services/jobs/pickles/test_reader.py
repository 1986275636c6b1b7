"""Pickles are read, and nothing in them is run."""

from __future__ import annotations

import asyncio
import copyreg
import json
import pickle
import tracemalloc
from collections import OrderedDict, deque
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from time import process_time
from typing import Any
from uuid import UUID

import pytest
from arq.jobs import deserialize_job, deserialize_result, serialize_job, serialize_result
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from oneoff.services.jobs.pickles import display, reader, rewrite
from oneoff.services.jobs.pickles.reader import Opaque, UnreadableError
from oneoff.services.jobs.records import JobStatus, ended_record, ending_of, function_of

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.tuples(inner, inner, inner, inner)
        | st.dictionaries(st.text() | st.integers(-(2**59), 2**59), inner)
    ),
    max_leaves=20,
)

QUICKLY = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # a busy machine is no failure


class Calls:
    """Pickles to a call of the given function."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


class Restored:
    """Runs code when its state is set."""

    ran = False

    def __reduce__(self) -> Any:
        return Restored, (), {"a": 1}

    def __setstate__(self, state: Any) -> None:
        Restored.ran = True


def touch(path: str) -> None:
    """Create a file, which shows that this function has run."""
    Path(path).touch()


@QUICKLY
@given(VALUES, st.sampled_from(list(PROTOCOLS)))
def test_plain_values_are_read_unchanged(value: Any, protocol: int) -> None:
    """In every protocol. Before protocol 3, bytes are pickled as a call."""
    if protocol < 3 and holds_bytes(value):
        return

    assert value == reader.read(pickle.dumps(value, protocol)).value


def holds_bytes(value: Any) -> bool:
    """Return whether a value contains bytes at any depth."""
    if isinstance(value, dict):
        return any(map(holds_bytes, value.values()))
    return isinstance(value, bytes) or (
        isinstance(value, list | tuple) and any(map(holds_bytes, value))
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_is_called(tmp_path: Path, protocol: int) -> None:
    """Functions, evaluated code and states are only named."""
    trace = tmp_path / "trace"
    hostile = [
        Calls(touch, (str(trace),)),
        Calls(eval, (f"open({str(trace)!r}, 'w')",)),
        Calls(exec, (f"open({str(trace)!r}, 'w')",)),
        Calls(copyreg._reconstructor, (Restored, object, None)),  # type: ignore[attr-defined]
        Calls(getattr, (Calls(__import__, ("os",)), "system")),
        Restored(),
    ]

    read = reader.read(pickle.dumps(hostile, protocol)).value

    assert not trace.exists()
    assert not Restored.ran
    assert all(isinstance(one, Opaque) for one in read)
    assert f"test_reader.touch({str(trace)!r})" in display.text(read[0], 500)
    assert display.text(read[1], 500).startswith("eval(")


def test_a_module_is_not_imported() -> None:
    """Only its name is recorded."""
    read = reader.read(b"cno.such.module\nname\n(S'x'\ntR.").value

    assert "no.such.module.name('x')" == display.text(read)


@pytest.mark.parametrize(
    "raw",
    [
        b"cos\nsystem\n(S'false'\ntR.",
        b"(S'false'\nios\nsystem\n.",
        b"(cos\nsystem\nS'false'\no.",
        b"\x80\x02\x82\x01.",
        b"Pname\n.",
        b"\x80\x02U\x01xQ.",
        b"cos\nsystem\nN}b.",
    ],
    ids=["reduce", "inst", "obj", "extension", "persid", "binpersid", "build"],
)
def test_old_opcodes_run_nothing_either(raw: bytes) -> None:
    """Current picklers do not write these."""
    assert display.text(reader.read(raw).value)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"x",
        b"\x80\x04",
        b"\x80\x04.",
        b"(",
        b"t.",
        b"\x80\x04h\x05.",
        b"]0a.",
        b"N" * 90,
        b"K\x01(\x85.",
        b"K\x01(.",
    ],
)
def test_bytes_that_are_not_a_pickle_are_unreadable(raw: bytes) -> None:
    """No other exception is raised."""
    with pytest.raises(UnreadableError):
        reader.read(raw)


@QUICKLY
@given(st.binary(max_size=60), st.integers(0, 60))
@example(b"i\\\n\n", 0)
@example(b"i\\", 0)
def test_a_damaged_pickle_is_unreadable_or_a_value(noise: bytes, at: int) -> None:
    """For any inserted bytes."""
    good = pickle.dumps({"a": [1, (2, 3)], "b": ValueError("x")})
    with suppress(UnreadableError):
        assert display.text(reader.read(good[:at] + noise + good[at:]).value)


def test_values_that_expand_without_limit_are_truncated() -> None:
    """Lists with 2 ** 60 items in 300 bytes, with themselves as an item, or with 50,000 levels."""
    started = process_time()
    laughs: Any = "ha"
    for _ in range(60):
        laughs = [laughs, laughs]
    endless: list[Any] = []
    endless.append(endless)
    deep = b"]" * 50_000 + b"a" * 49_999 + b"."
    # A dict whose key is a tuple of tuples: computing its hash would take forever.
    key = b"\x80\x04K\x01" + b"".join(b"\x94h" + bytes([n]) + b"\x86" for n in range(60))
    hashed = key.replace(b"\x80\x04", b"\x80\x04}", 1) + b"Ns."

    texts = [
        display.text(reader.read(raw).value)
        for raw in (pickle.dumps(laughs), pickle.dumps(endless), deep, hashed)
    ]
    copies = [display.plain(reader.read(raw).value) for raw in (pickle.dumps(laughs), deep)]

    assert process_time() - started < 5
    assert all(len(text) <= display.SHORT for text in texts)
    assert 2 == len(copies)


def test_too_large_a_pickle_is_not_read() -> None:
    """Too many bytes, too many steps, or a length beyond the end."""
    with pytest.raises(UnreadableError, match="bytes"):
        reader.read(b"." * (reader.MOST_BYTES + 1))
    with pytest.raises(UnreadableError, match="steps"):
        reader.read(b"N" * (reader.MOST_STEPS + 2) + b".")
    with pytest.raises(UnreadableError):
        reader.read(b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\x00\x00")


@pytest.mark.parametrize(
    "raw",
    [b"\x80\x02Nr\xff\xff\xff\x7f.", b"\x80\x05\x96\x00\x00\x00\x40\x00\x00\x00\x00x."],
    ids=["memo", "bytearray"],
)
def test_sizes_that_a_pickle_claims_are_not_allocated(raw: bytes) -> None:
    """`pickle.Unpickler` would allocate gigabytes for either."""
    tracemalloc.start()
    with suppress(UnreadableError):
        reader.read(raw)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 1_000_000


def test_common_objects_are_shown_as_readable_text() -> None:
    """Dates, numbers and UUIDs as their text; other objects by name and content."""
    moment = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
    shown = {
        moment: "'2026-01-31T09:30:00+00:00'",
        date(2026, 1, 31): "2026-01-31",
        timedelta(hours=1): "'1:00:00'",
        Decimal("1.50"): "Decimal('1.50')",
        UUID(int=7): "UUID('00000000-0000-0000-0000-000000000007')",
        ValueError("no", 3): "ValueError('no', 3)",
        asyncio.CancelledError(): "asyncio.exceptions.CancelledError()",
        frozenset({1}): "frozenset([1])",
    }

    read = {value: display.text(reader.read(pickle.dumps(value)).value) for value in shown}

    assert shown == read
    assert "set([1])" in display.text(reader.read(pickle.dumps({1})).value)
    assert "OrderedDict(" in display.text(reader.read(pickle.dumps(OrderedDict(a=1))).value)
    assert "deque(" in display.text(reader.read(pickle.dumps(deque([1]))).value)


@QUICKLY
@given(st.lists(VALUES, max_size=3), st.dictionaries(st.text(), VALUES, max_size=3), VALUES)
def test_a_result_is_turned_into_its_job(
    args: list[Any], kwargs: dict[str, Any], result: Any
) -> None:
    """With exactly the same arguments, and without tries."""
    raw = serialize_result(
        *("task", tuple(args), kwargs, 3, 1_763_700_000_000, False, result),
        *(1_763_700_000_001, 1_763_700_000_002, "ref", "queue", "id"),
    )
    assert raw

    job: Any = deserialize_job(rewrite.job_of_result(raw, 1_763_800_000_000))

    assert ("task", tuple(args), kwargs, None) == (job.function, job.args, job.kwargs, job.job_try)
    assert 1_763_800_000 == job.enqueue_time.timestamp()
    assert "task" == function_of(raw, None)
    assert (JobStatus.FAILED, 1_763_700_000_002) == ending_of(raw, None)


@QUICKLY
@given(st.lists(VALUES, max_size=3), st.dictionaries(st.text(), VALUES, max_size=3))
def test_a_job_is_turned_into_a_result_that_arq_reads(
    args: list[Any], kwargs: dict[str, Any]
) -> None:
    """ARQ's own function reads it, with the exception in it."""
    raw = serialize_job("task", tuple(args), kwargs, None, 1_763_700_000_000)
    ending = {
        "t": 0, "s": False, "r": asyncio.CancelledError(),
        "st": 1_763_700_000_001, "ft": 1_763_700_000_002, "q": "queue", "id": "one",
    }  # fmt: skip

    rewritten = rewrite.result_of_job(raw, ending)
    result = deserialize_result(rewritten)

    assert ("task", tuple(args), kwargs, 0) == (
        *(result.function, result.args, result.kwargs, result.job_try),
    )
    assert isinstance(result.result, asyncio.CancelledError)
    assert ended_record("one", rewritten, None, "queue").aborted
    assert (JobStatus.FAILED, 1_763_700_000_002) == ending_of(rewritten, None)


def test_a_large_pickle_with_several_frames_is_rewritten() -> None:
    """Python writes a frame for every 64 KiB."""
    text = "x" * 100_000
    args = tuple(text + str(number) for number in range(5)) + tuple(range(30_000))
    raw = serialize_result(
        *("task", args, {}, 3, 1_763_700_000_000, False, OSError(5, "no")),
        *(1_763_700_000_001, 1_763_700_000_002, "ref", "queue", "id"),
    )
    assert raw

    assert args == deserialize_job(rewrite.job_of_result(raw, 1)).args


def test_a_pickle_that_arq_did_not_write_is_not_rewritten() -> None:
    """Otherwise it would become a job that no worker can read."""
    for raw in (b"x", pickle.dumps([1]), pickle.dumps({"f": "task"}), pickle.dumps({})):
        with pytest.raises(UnreadableError):
            rewrite.job_of_result(raw, 1)


def shared(levels: int, width: int = 10) -> Any:
    """Return nested lists that share their items: `width ** levels` items in few bytes."""
    inner: Any = "ha"
    for _ in range(levels):
        inner = [inner] * width
    return inner


@pytest.mark.parametrize(
    "hostile",
    [
        Calls(Decimal, (shared(7),)),
        Calls(timedelta, (shared(7),)),
        Calls(datetime, (("x" * 1_000_000,),)),
        Calls(datetime, ((b"x" * 1_000_000,),)),
        Calls(datetime, (b"x" * 1_000_000,)),
        Calls(date, (shared(7),)),
        Calls(Decimal, (10**5_000,)),
        Calls(Decimal, ("1" * 1_000_000,)),
        {"x" * 1_000: shared(7)},
    ],
    ids=["decimal", "delta", "text", "tuple", "bytes", "date", "number", "digits", "dict"],
)
def test_showing_a_value_takes_little_time_and_memory(hostile: Any) -> None:
    """Also if the pickle says that a huge value is a number or a date."""
    value = reader.read(pickle.dumps(hostile)).value
    tracemalloc.start()
    started = process_time()

    texts = [display.text(value), display.call_text((value,), {"x": value})]
    display.plain(value)

    spent, (_, most) = process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (True, True) == (spent < 2, most < 30_000_000), (spent, most)
    assert all(len(text) <= display.SHORT for text in texts)


def test_a_uuid_of_an_invalid_number_stays_opaque() -> None:
    """It can't be converted to a UUID."""
    hostile = Opaque("uuid.UUID", ())
    for odd in (1.5, True, "7", 10**5_000):
        hostile.state = {"int": odd}
        assert display.text(hostile).startswith("uuid.UUID(")
        assert isinstance(display.plain(hostile), str)


@pytest.mark.parametrize("long", ["k" * 1_000_000, b"k" * 1_000_000], ids=["text", "bytes"])
def test_a_copy_is_bounded_if_a_long_value_is_repeated(long: str | bytes) -> None:
    """Keys and bytes count like strings."""
    keys = json.dumps(display.plain([{long: 1}] * 1_000))
    values = json.dumps(display.plain([long] * 1_000))

    assert (True, True) == (len(keys) < 1_000_000, len(values) < 1_000_000)


def test_lone_surrogates_are_escaped() -> None:
    """A pickle can contain one, but it can't be encoded."""
    assert {"\\ud800": "\\ud800"} == display.plain({"\ud800": "\ud800"})


def test_repeated_names_and_colliding_keys_are_cheap() -> None:
    """A long name used often would fill the memory; colliding keys would take hours."""
    name = b"\x80\x04\x8d" + (1_000_000).to_bytes(8, "little") + b"n" * 1_000_000 + b"\x94"
    names = name + b"0]\x94(" + b"h\x00h\x00\x93" * 200 + b"e."
    numbers = [pickle.dumps((2**61 - 1) * number, 2)[2:-1] + b"N" for number in range(1, 40_000)]
    collide = b"\x80\x02}(" + b"".join(numbers) + b"u."
    tracemalloc.start()
    reader.read(names)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    started = process_time()
    reader.read(collide)

    assert most < 20_000_000
    assert process_time() - started < 5  # hashed, they take about 13
