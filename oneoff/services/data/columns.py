"""Describe the columns of a table and the kinds of their values, for exports and imports.

Between a database and a file every value has one canonical text: the text that PostgreSQL writes
with `driver.SESSION_SETTINGS`. docs/howto/export-and-import-data.md describes what each format does
with it.
"""

from __future__ import annotations

import math
import re
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.types import TypeEngine

MASK = "***"
"""Replaces personal data in a text column. In other columns NULL replaces it."""

FORMULA_SIGNS = "=+-@\t\r"
"""A spreadsheet reads a cell that starts with one of these characters as a formula."""

INFINITE_MOMENT = 2**63 - 1
"""Infinity in a Parquet file as a number of microseconds; negative for -infinity."""
INFINITE_DAY = 2**31 - 1
"""Infinity in a Parquet file as a number of days; negative for -infinity."""


class Kind(Enum):
    """The kind of a value, independent of the name of its type in the database."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    FLOAT = "float"
    NUMERIC = "numeric"
    TEXT = "text"
    BINARY = "binary"
    DATE = "date"
    TIME = "time"
    TIMESTAMP = "timestamp"
    """A timestamp without a time zone."""
    INSTANT = "instant"
    """A timestamp with a time zone; written in UTC."""
    INTERVAL = "interval"
    JSON = "json"
    UUID = "uuid"
    ENUM = "enum"
    ARRAY = "array"
    OTHER = "other"
    """inet, ranges, types of extensions: their text is passed on unchanged."""


FREE_TEXT = frozenset({Kind.TEXT, Kind.ENUM, Kind.JSON, Kind.ARRAY, Kind.INTERVAL, Kind.OTHER})
"""Kinds whose text may start with any character."""


class Column(NamedTuple):
    """One column of a table in the connected database.

    Attributes:
        name: The name in the database, not quoted.
        kind: The kind of its values.
        type: The type as the database writes it: "numeric(10,2)", "text[]", "shop.mood".
        nullable: Whether it may be NULL.
        has_default: Whether it has a default, so that an INSERT may omit it.
        generated: Whether the database computes it from other columns; it can't be written.
        identity: "always", "default", or empty.
        pii: Whether it holds personal data or secrets, which are masked.
        base_type: On PostgreSQL, the type without length and domain. A cast to it does not
            truncate.
        value_type: The type of its values: without domain, but with length and precision.
        leaf: The catalog's name of its built-in type, without domain; for an array, that of its
            elements. Empty for types that PostgreSQL does not define itself, and on SQLite.
        sequence: The quoted name of the sequence that its model declares; empty for none.
        members: On SQLite, the texts that the enum of its model allows; empty for other types.
    """

    name: str
    kind: Kind
    type: str
    nullable: bool = True
    has_default: bool = False
    generated: bool = False
    identity: str = ""
    pii: bool = False
    base_type: str = ""
    value_type: str = ""
    leaf: str = ""
    sequence: str = ""
    members: tuple[str, ...] = ()

    @property
    def mask(self) -> str | None:
        """The text that replaces its values if personal data is masked; None for NULL."""
        return MASK if self.kind is Kind.TEXT else None

    @property
    def scale(self) -> int | None:
        """Digits after the decimal point; None if the type does not limit them."""
        found = self._limits()
        return int(found[2] or 0) if found else None

    @property
    def precision(self) -> int | None:
        """Digits of a number; None if the type does not limit them."""
        found = self._limits()
        return int(found[1]) if found else None

    def _limits(self) -> re.Match[str] | None:
        numeric = self.kind is Kind.NUMERIC
        return _PRECISION.search(self.value_type or self.type) if numeric else None


# Not that of another type: in SQLite, a column for decimals may be VARCHAR(20).
_PRECISION = re.compile(r"\b(?:NUM|DEC)\w*\s*\((\d+)\s*(?:,\s*(\d+)\s*)?\)", re.IGNORECASE)

_BY_POSTGRESQL_NAME = {
    "bool": Kind.BOOLEAN,
    "int2": Kind.INTEGER,
    "int4": Kind.INTEGER,
    "int8": Kind.INTEGER,
    "float4": Kind.FLOAT,
    "float8": Kind.FLOAT,
    "numeric": Kind.NUMERIC,
    "bytea": Kind.BINARY,
    "date": Kind.DATE,
    "time": Kind.TIME,
    "timestamp": Kind.TIMESTAMP,
    "timestamptz": Kind.INSTANT,
    "interval": Kind.INTERVAL,
    "json": Kind.JSON,
    "jsonb": Kind.JSON,
    "uuid": Kind.UUID,
}
_BY_CATEGORY = {"S": Kind.TEXT, "A": Kind.ARRAY, "E": Kind.ENUM}

# The first word that the name of a type contains decides, as in SQLite's own affinity rules. So a
# word that contains another one comes first: INTERVAL before INT, DATETIME before DATE and TIME.
_BY_SQLITE_WORD = (
    ("BOOL", Kind.BOOLEAN),
    ("INTERVAL", Kind.INTERVAL),
    ("INT", Kind.INTEGER),
    ("CHAR", Kind.TEXT),
    ("CLOB", Kind.TEXT),
    ("TEXT", Kind.TEXT),
    ("BLOB", Kind.BINARY),
    ("BINARY", Kind.BINARY),
    ("REAL", Kind.FLOAT),
    ("FLOA", Kind.FLOAT),
    ("DOUB", Kind.FLOAT),
    ("DATETIME", Kind.TIMESTAMP),
    ("TIMESTAMP", Kind.TIMESTAMP),
    ("DATE", Kind.DATE),
    ("TIME", Kind.TIME),
    ("NUMERIC", Kind.NUMERIC),
    ("DECIMAL", Kind.NUMERIC),
    ("JSON", Kind.JSON),
    ("UUID", Kind.UUID),
)

# Names of SQLAlchemy's classes, subclasses first. Every type has one of them as a base class.
_BY_DECLARED_NAME = (
    ("Enum", Kind.ENUM),
    ("Boolean", Kind.BOOLEAN),
    ("Integer", Kind.INTEGER),
    ("Float", Kind.FLOAT),
    ("Numeric", Kind.NUMERIC),
    ("Uuid", Kind.UUID),
    ("JSON", Kind.JSON),
    ("ARRAY", Kind.ARRAY),
    ("Interval", Kind.INTERVAL),
    ("LargeBinary", Kind.BINARY),
    ("DateTime", Kind.TIMESTAMP),
    ("Date", Kind.DATE),
    ("Time", Kind.TIME),
    ("String", Kind.TEXT),
)


def kind_of_postgresql(name: str, category: str) -> Kind:
    """Return the kind of a PostgreSQL type, by `typname` and `typcategory` of its catalog."""
    return _BY_POSTGRESQL_NAME.get(name) or _BY_CATEGORY.get(category, Kind.OTHER)


def kind_of_sqlite(declared: str) -> Kind:
    """Return the kind of a SQLite column, by the type in its CREATE TABLE statement."""
    words = declared.upper()
    return next((kind for word, kind in _BY_SQLITE_WORD if word in words), Kind.OTHER)


def kind_of_model(declared: TypeEngine[Any]) -> Kind | None:
    """Return the kind of a SQLAlchemy type, or None if it is unknown.

    SQLite has no booleans, instants or UUIDs, so there the model's type is more precise.
    """
    declared = _undecorated(declared)
    kind = _kind_by_base(declared)
    if kind is Kind.ENUM and not getattr(declared, "native_enum", True):
        return Kind.TEXT
    if kind is Kind.TIMESTAMP and getattr(declared, "timezone", False):
        return Kind.INSTANT
    return kind


def members_of_model(declared: TypeEngine[Any]) -> tuple[str, ...]:
    """Return the texts that a SQLAlchemy enum allows; empty if PostgreSQL would allow others too.

    SQLite stores an enum as a text, and does not check it.
    """
    declared = _undecorated(declared)
    if kind_of_model(declared) is not Kind.ENUM:
        return ()
    return tuple(getattr(declared, "enums", ()))


def _undecorated(declared: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return the type that a TypeDecorator wraps, or the type itself."""
    while (
        _kind_by_base(declared) is None
        and (inner := getattr(declared, "impl_instance", None)) is not None
    ):
        declared = inner
    return declared


def _kind_by_base(declared: TypeEngine[Any]) -> Kind | None:
    bases = {base.__name__ for base in type(declared).__mro__}
    return next((kind for name, kind in _BY_DECLARED_NAME if name in bases), None)


def float_text(value: float) -> str:
    """Return the shortest text that is read back as this number, as PostgreSQL writes it."""
    # Python uses an exponent from 1e16 on, PostgreSQL from 1e15 on.
    if not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124
    text = repr(value).removesuffix(".0")
    digits = text.lstrip("-")
    if "e" in text or "." in text or len(digits) <= _PLAIN_DIGITS:
        return text
    sign = text.removesuffix(digits)
    rest = digits[1:].rstrip("0")
    return f"{sign}{digits[0]}{'.' if rest else ''}{rest}e+{len(digits) - 1}"


_PLAIN_DIGITS = 15


def writable(columns: Sequence[Column]) -> list[Column]:
    """Return the columns that an INSERT may name."""
    return [column for column in columns if not column.generated]
