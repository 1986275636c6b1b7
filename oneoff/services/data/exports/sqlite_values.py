"""Build the SQL with which SQLite writes the text of a value, as PostgreSQL would write it.

A column of SQLite may contain values of any type. So each expression first tests for the type that
the column has, and otherwise uses an expression that is correct for all types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff.services.data.columns import Kind, float_text
from oneoff.services.data.tables import quote

if TYPE_CHECKING:
    from oneoff.services.data.columns import Column

Cases = list[tuple[str, str]]
"""SQL of conditions, each with the SQL of the value's text. The first condition that is met counts.
"""

FLOAT = "oneoff_float"
"""The name of `write_float` in SQL."""
MOMENTS = (Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.INSTANT)


def canonical(column: Column) -> str:
    """Return the SQL of a value's canonical text; NULL for NULL."""
    return case(fast_text(column), text_of_any(quote(column.name)))


def case(fast: Cases, slow: str) -> str:
    """Return the SQL of the first case that is met, or else of `slow`."""
    whens = " ".join(f"WHEN {condition} THEN {text}" for condition, text in fast)
    return f"CASE {whens} ELSE {slow} END" if whens else slow


def has_no_zero(name: str) -> str:
    """Return the SQL of a condition: the text has no zero character.

    Many functions of SQLite ignore what follows one.
    """
    return f"instr({name}, char(0)) = 0"


def text_of_any(name: str) -> str:
    """Return the SQL of a value's text, for any storage class."""
    return (
        f"CASE typeof({name}) WHEN 'real' THEN {FLOAT}({name}) "
        f"WHEN 'blob' THEN '\\x' || lower(hex({name})) ELSE CAST({name} AS TEXT) END"
    )


def fast_text(column: Column) -> Cases:
    """Return the cases for values of the column's own type, and their texts.

    None of them is met by the empty text.
    """
    name, kind = quote(column.name), column.kind
    if kind is Kind.INTEGER:
        return [(f"typeof({name}) = 'integer'", f"CAST({name} AS TEXT)")]
    if kind is Kind.BOOLEAN:
        return [(f"{name} = 1", "'t'"), (f"{name} = 0", "'f'")]
    if kind is Kind.FLOAT:
        return [(f"typeof({name}) = 'real'", f"{FLOAT}({name})")]
    if kind is Kind.NUMERIC:
        return number_cases(name, column.scale)
    if kind is Kind.UUID:
        dashed = " || '-' || ".join(
            f"substr({name}, {start}, {length})" for start, length in _UUID_PARTS
        )
        # As a blob, because the functions for texts ignore what follows a zero character.
        digits = f"length(CAST({name} AS BLOB)) = 32 AND {name} NOT GLOB '*[^0-9a-f]*'"
        return [(digits, dashed)]
    zone = " || '+00'" if kind is Kind.INSTANT else ""
    return [(condition, text + zone) for condition, text in moment_cases(name, kind)]


def number_cases(name: str, scale: int | None) -> Cases:
    """Return the cases for numbers, with the digits that the column's type shows after the point.

    SQLite accepts a number with more digits, and it is written as it is.
    """
    zeros = f" || '.{'0' * scale}'" if scale else ""
    whole = (f"typeof({name}) = 'integer'", f"CAST({name} AS TEXT){zeros}")
    finite = is_finite(name)
    exact = (finite, f"{FLOAT}({name})")
    if scale is None:
        return [whole, exact]
    # printf() is faster, but writes at most 16 digits before it rounds.
    rounded = f"printf('%.{scale}f', {name})"
    return [whole, (f"{finite} AND CAST({rounded} AS REAL) = {name}", rounded), exact]


def is_finite(name: str) -> str:
    """Return the SQL of a condition: the value is a floating-point number other than infinity."""
    return f"typeof({name}) = 'real' AND abs({name}) < 9e999"


def moment_cases(name: str, kind: Kind) -> Cases:
    """Return the cases for values that look like a time of this kind, with texts without a zone."""
    shape = _SHAPES.get(kind)
    if shape is None:
        return []
    short = f"rtrim(rtrim({name}, '0'), '.')"
    whole = (f"{name} GLOB '{shape}'", name)
    if kind is Kind.DATE:
        return [whole]
    # Most fractions don't end in zeros. Removing zeros costs as much as the rest of the expression.
    exact = (f"{name} GLOB '{shape}.{_DIGIT * 5}[1-9]'", name)
    return [exact, (f"{name} GLOB '{shape}.{_DIGIT * 6}'", short), whole]


# Digits, because other texts must be written as they are, and escaped in JSON.
_DIGIT = "[0-9]"
_SHAPES = {
    kind: shape.replace("9", _DIGIT)
    for kind, shape in (
        (Kind.DATE, "9999-99-99"),
        (Kind.TIME, "99:99:99"),
        (Kind.TIMESTAMP, "9999-99-99 99:99:99"),
        (Kind.INSTANT, "9999-99-99 99:99:99"),
    )
}
_UUID_PARTS = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))


def without_zeros(name: str) -> str:
    """Return the SQL of a time without trailing zeros, as PostgreSQL writes it."""
    return f"CASE WHEN instr({name}, '.') THEN rtrim(rtrim({name}, '0'), '.') ELSE {name} END"


def is_moment(name: str, kind: Kind) -> str:
    """Return the SQL of a condition: the value is a valid time of this kind, in SQLAlchemy's form.

    strftime() accepts other forms too: 'now', a number, a day that the month does not have. So its
    text must be the value. Without '+0 days' it would not calculate, and return such a day itself.
    """
    form, length = _FORMS[kind]
    start, rest = f"substr({name}, 1, {length})", f"substr({name}, {length + 1})"
    fraction = f"{rest} GLOB '.[0-9]*' AND {rest} NOT GLOB '.*[^0-9]*' AND length({rest}) < 8"
    end = f"{rest} = ''" if kind is Kind.DATE else f"({rest} = '' OR {fraction})"
    return f"strftime('{form}', {start}, '+0 days') = {start} AND {end} AND {has_no_zero(name)}"


def moment_number(name: str, kind: Kind) -> str:
    """Return the SQL of a time as a number of microseconds, or of a date as a number of days."""
    day = f"'1970-01-01 ' || {name}" if kind is Kind.TIME else name
    # 19 characters: without the fraction, which strftime() would round.
    seconds = f"CAST(strftime('%s', substr({day}, 1, 19)) AS INTEGER)"
    if kind is Kind.DATE:
        return f"{seconds} / 86400"
    fraction = f"substr(substr({name}, instr({name}, '.') + 1) || '00000', 1, 6)"
    return f"{seconds} * 1000000 + iif(instr({name}, '.'), CAST({fraction} AS INTEGER), 0)"


_FORMS = {
    Kind.DATE: ("%Y-%m-%d", 10),
    Kind.TIME: ("%H:%M:%S", 8),
    Kind.TIMESTAMP: ("%Y-%m-%d %H:%M:%S", 19),
    Kind.INSTANT: ("%Y-%m-%d %H:%M:%S", 19),
}


def write_float(value: object) -> object:
    """Return the text of a floating-point number, and other values unchanged."""
    return float_text(value) if isinstance(value, float) else value
