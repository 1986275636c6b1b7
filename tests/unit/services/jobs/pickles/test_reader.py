"""Pickles are read, and nothing that stands in them is run."""

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
    """Pickles to a call of whatever it is told."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


class Restored:
    """Runs code of its own when its state is set."""

    ran = False

    def __reduce__(self) -> Any:
        return Restored, (), {"a": 1}

    def __setstate__(self, state: Any) -> None:
        Restored.ran = True


def touch(path: str) -> None:
    """Leave a trace."""
    Path(path).touch()


@QUICKLY
@given(VALUES, st.sampled_from(list(PROTOCOLS)))
def test_plain_values_are_read_as_they_are(value: Any, protocol: int) -> None:
    """In every protocol there is; bytes are a call before the third."""
    if protocol < 3 and holds_bytes(value):
        return

    assert value == reader.read(pickle.dumps(value, protocol)).value


def holds_bytes(value: Any) -> bool:
    """Say whether there are bytes anywhere in a value."""
    if isinstance(value, dict):
        return any(map(holds_bytes, value.values()))
    return isinstance(value, bytes) or (
        isinstance(value, list | tuple) and any(map(holds_bytes, value))
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_is_called(tmp_path: Path, protocol: int) -> None:
    """Functions, evaluated code, extensions, states: named, and never run."""
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


def test_a_module_is_not_even_imported() -> None:
    """A name stays a name."""
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
def test_old_opcodes_are_inert_too(raw: bytes) -> None:
    """Those that no pickler of today writes."""
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
def test_what_is_no_pickle_is_an_error(raw: bytes) -> None:
    """And never another exception."""
    with pytest.raises(UnreadableError):
        reader.read(raw)


@QUICKLY
@given(st.binary(max_size=60), st.integers(0, 60))
@example(b"i\\\n\n", 0)
@example(b"i\\", 0)
def test_damage_is_an_error_or_a_value(noise: bytes, at: int) -> None:
    """Whatever the bytes are."""
    good = pickle.dumps({"a": [1, (2, 3)], "b": ValueError("x")})
    with suppress(UnreadableError):
        assert display.text(reader.read(good[:at] + noise + good[at:]).value)


def test_what_would_grow_without_end_is_cut_off() -> None:
    """Lists of lists of lists: 2 ** 60 items in 300 bytes; one that holds itself; 50,000 levels."""
    started = process_time()
    laughs: Any = "ha"
    for _ in range(60):
        laughs = [laughs, laughs]
    endless: list[Any] = []
    endless.append(endless)
    deep = b"]" * 50_000 + b"a" * 49_999 + b"."
    # A dict whose key is a tuple of tuples: its hash alone would take for ever.
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
    """Neither by bytes nor by steps."""
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
    """`pickle.Unpickler` would take gigabytes for either."""
    tracemalloc.start()
    with suppress(UnreadableError):
        reader.read(raw)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 1_000_000


def test_what_is_common_is_shown_as_it_was() -> None:
    """Times, numbers and ids are not left as bytes; of others, the name and what is in them."""
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
def test_a_result_becomes_the_job_it_came_from(
    args: list[Any], kwargs: dict[str, Any], result: Any
) -> None:
    """The same arguments to the byte, whatever they are; no try yet."""
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
def test_a_job_becomes_the_result_that_arq_reads(args: list[Any], kwargs: dict[str, Any]) -> None:
    """With an exception in it, made by the worker's own pickle."""
    raw = serialize_job("task", tuple(args), kwargs, None, 1_763_700_000_000)
    ending = {
        "t": 0, "s": False, "r": asyncio.CancelledError(),
        "st": 1_763_700_000_001, "ft": 1_763_700_000_002, "q": "queue", "id": "one",
    }  # fmt: skip

    spliced = rewrite.result_of_job(raw, ending)
    result = deserialize_result(spliced)

    assert ("task", tuple(args), kwargs, 0) == (
        *(result.function, result.args, result.kwargs, result.job_try),
    )
    assert isinstance(result.result, asyncio.CancelledError)
    assert ended_record("one", spliced, None, "queue").aborted
    assert (JobStatus.FAILED, 1_763_700_000_002) == ending_of(spliced, None)


def test_a_large_job_is_spliced_across_its_frames() -> None:
    """Python writes one for every 64 KiB."""
    text = "x" * 100_000
    args = tuple(text + str(number) for number in range(5)) + tuple(range(30_000))
    raw = serialize_result(
        *("task", args, {}, 3, 1_763_700_000_000, False, OSError(5, "no")),
        *(1_763_700_000_001, 1_763_700_000_002, "ref", "queue", "id"),
    )
    assert raw

    assert args == deserialize_job(rewrite.job_of_result(raw, 1)).args


def test_what_is_none_of_arqs_is_not_spliced() -> None:
    """It would become a job that no worker can read."""
    for raw in (b"x", pickle.dumps([1]), pickle.dumps({"f": "task"}), pickle.dumps({})):
        with pytest.raises(UnreadableError):
            rewrite.job_of_result(raw, 1)


def shared(levels: int, width: int = 10) -> Any:
    """Return lists in lists that are one list each: `width ** levels` items in few bytes."""
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
def test_showing_takes_little_time_and_memory(hostile: Any) -> None:
    """Whatever a few bytes say they are: what stands for a number or a date must be made of one."""
    value = reader.read(pickle.dumps(hostile)).value
    tracemalloc.start()
    started = process_time()

    texts = [display.text(value), display.call_text((value,), {"x": value})]
    display.plain(value)

    spent, (_, most) = process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (True, True) == (spent < 2, most < 30_000_000), (spent, most)
    assert all(len(text) <= display.SHORT for text in texts)


def test_an_id_made_of_no_whole_number_stays_what_it_was() -> None:
    """Its text could not be made."""
    hostile = Opaque("uuid.UUID", ())
    for odd in (1.5, True, "7", 10**5_000):
        hostile.state = {"int": odd}
        assert display.text(hostile).startswith("uuid.UUID(")
        assert isinstance(display.plain(hostile), str)


@pytest.mark.parametrize("long", ["k" * 1_000_000, b"k" * 1_000_000], ids=["text", "bytes"])
def test_a_copy_is_bounded_however_often_a_value_is_named(long: str | bytes) -> None:
    """Keys and bytes count as texts do."""
    keys = json.dumps(display.plain([{long: 1}] * 1_000))
    values = json.dumps(display.plain([long] * 1_000))

    assert (True, True) == (len(keys) < 1_000_000, len(values) < 1_000_000)


def test_a_copy_holds_what_json_and_a_terminal_can() -> None:
    """Half a character, which a pickle may hold, can't be written anywhere."""
    assert {"\\ud800": "\\ud800"} == display.plain({"\ud800": "\ud800"})


def test_names_and_keys_cost_no_more_than_they_weigh() -> None:
    """One long name a thousand times would fill the memory; colliding keys, hours."""
    name = b"\x80\x04\x8d" + (1_000_000).to_bytes(8, "little") + b"n" * 1_000_000 + b"\x94"
    names = name + b"0]\x94(" + b"h\x00h\x00\x93" * 200 + b"e."
    numbers = [pickle.dumps((2**61 - 1) * number, 2)[2:-1] + b"N" for number in range(1, 20_000)]
    collide = b"\x80\x02}(" + b"".join(numbers) + b"u."
    tracemalloc.start()
    reader.read(names)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    started = process_time()
    reader.read(collide)

    assert most < 20_000_000
    assert process_time() - started < 1
