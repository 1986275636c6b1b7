"""Convert texts of a command line into values of the annotated type."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneoff.core.conversion import duration_text, parse_duration, shape_of


class Role(Enum):
    """Can be given by value or by name."""

    USER = "user"
    SITE_ADMIN = "admin"


class Level(IntEnum):
    """Numbers."""

    LOW = 1
    HIGH = 2


class Switch(IntEnum):
    """A member that is false."""

    OFF = 0
    ON = 1


class Suffix(Enum):
    """A member whose text is empty."""

    NONE = ""
    DATE = "date"


class Rights(IntFlag):
    """A flag that iterating over the class leaves out."""

    NOTHING = 0
    READ = 1


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (str, "ada", "ada"),
        (str, "", ""),
        (int, "-5", -5),
        (int, "1_000", 1000),
        (int, f"{-(2**63)}", -(2**63)),
        (float, "2.5", 2.5),
        (bool, "Yes", True),
        (bool, "off", False),
        (Path, "a/b", Path("a/b")),
        (Decimal, "1.10", Decimal("1.10")),
        (
            UUID,
            "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            UUID(int=0x6BA7B8109DAD11D180B400C04FD430C8),
        ),
        (date, "2026-01-31", date(2026, 1, 31)),
        (datetime, "2026-01-31T09:30:00Z", datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
        (datetime, "2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        (timedelta, "1h30m", timedelta(minutes=90)),
        (Role, "admin", Role.SITE_ADMIN),
        (Role, "ADMIN", Role.SITE_ADMIN),
        (Role, "site_admin", Role.SITE_ADMIN),
        (Level, "2", Level.HIGH),
        (Literal["a", "b"], "b", "b"),
        (Literal[1, 2], "2", 2),
        (int | None, "5", 5),
        (int | None, "0", 0),
        (Switch, "0", Switch.OFF),
        (Switch, "off", Switch.OFF),
        (Switch | None, "0", Switch.OFF),
        (Suffix, "", Suffix.NONE),
        (Rights, "0", Rights.NOTHING),
        (Rights, "nothing", Rights.NOTHING),
        (Literal[0, 1], "0", 0),
        (timedelta, "0", timedelta()),
    ],
)
def test_a_text_is_converted_to_the_declared_type(
    annotation: Any, text: str, value: object
) -> None:
    """The value has exactly this type."""
    parsed = shape_of(annotation).parse(text)

    assert (value, type(value)) == (parsed, type(parsed))


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "5.0"),
        (int, ""),
        (float, "five"),
        (bool, "maybe"),
        (Decimal, "1,10"),
        (UUID, "6ba7"),
        (date, "31.01.2026"),
        (datetime, "yesterday"),
        (timedelta, "5"),
        (timedelta, "-5m"),
        (timedelta, "99999999999999d"),
        (Role, "king"),
        (Literal["a", "b"], "c"),
    ],
)
def test_a_wrong_text_is_a_value_error(annotation: Any, text: str) -> None:
    """The parser turns it into a usage error."""
    with pytest.raises(ValueError):  # noqa: PT011 - what it says is never shown
        shape_of(annotation).parse(text)


@pytest.mark.parametrize(
    ("annotation", "text", "hint"),
    [
        (int, "99999999999999999999", f" of at most {2**63 - 1}"),
        (int | None, " +1_0" + 20 * "0", f" of at most {2**63 - 1}"),
        (int, 5000 * "9", f" of at most {2**63 - 1}"),
        (list[int], f"{-(2**63) - 1}", f" of at least {-(2**63)}"),
        (int, "5.0", ""),
        (int, "", ""),
        (timedelta, "99999999999999d", ": it is longer than 999999999d"),
        (timedelta, "5", ": it has no unit; write 5s for seconds, 5m for minutes"),
        (timedelta, "-5m", ""),
    ],
)
def test_a_hint_tells_the_limit_that_a_value_exceeds(annotation: Any, text: str, hint: str) -> None:
    """It follows "is not a whole number". A text of another form gets no limit."""
    with pytest.raises(ValueError):  # noqa: PT011 - what it says is never shown
        shape_of(annotation).parse(text)

    assert hint == shape_of(annotation).hint(text)


def test_a_list_parses_its_items() -> None:
    """`many` is set."""
    shape = shape_of(list[int])

    assert (True, 5) == (shape.many, shape.parse("5"))


@pytest.mark.parametrize("annotation", [dict, list, int | str, tuple[int, ...], Any])
def test_an_unsupported_type_is_refused_at_declaration(annotation: Any) -> None:
    """The author sees the error, not the operator."""
    with pytest.raises((TypeError, ValueError)):
        shape_of(annotation)


@pytest.mark.parametrize("annotation", [Literal[1, "1"], Enum("Mixed", {"NUMBER": 1, "TEXT": "1"})])
def test_two_choices_that_are_typed_alike_are_refused_at_declaration(annotation: Any) -> None:
    """Only one of them could be chosen."""
    with pytest.raises(TypeError, match="typed alike: 1"):
        shape_of(annotation)


def test_choices_are_the_allowed_texts() -> None:
    """In the order of declaration."""
    assert ("user", "admin") == shape_of(Role).choices
    assert "one of a, b" == shape_of(Literal["a", "b"]).expects


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90d", 7_776_000), ("1w", 604_800), ("1h30m", 5_400), ("250ms", 0.25), ("1.5h", 5_400)],
)
def test_a_duration_needs_a_unit(text: str, seconds: float) -> None:
    """A number without one is an error."""
    assert timedelta(seconds=seconds) == parse_duration(text)


@given(st.integers(min_value=0, max_value=10**12))
def test_the_text_of_a_duration_can_be_parsed(milliseconds: int) -> None:
    """Parsing it returns the same duration."""
    value = timedelta(milliseconds=milliseconds)

    assert value == parse_duration(duration_text(value))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(hours=1, minutes=30), "1h30m"),
        (timedelta(days=90), "90d"),
        (timedelta(seconds=1.25), "1s250ms"),
    ],
)
def test_the_text_of_a_duration_has_no_empty_parts(value: timedelta, text: str) -> None:
    """Units with a count of zero are left out."""
    assert text == duration_text(value)


@given(st.text())
def test_any_text_is_a_value_or_a_value_error(text: str) -> None:
    """A parser raises nothing else."""
    for annotation in (int, float, bool, Decimal, UUID, date, datetime, timedelta, Role):
        shape = shape_of(annotation)
        try:
            value = shape.parse(text)
        except ValueError:
            continue
        assert isinstance(value, shape.accepts)
