"""Format counts and values as text for people and for JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

# All control characters but tab and line feed, and those that reverse the direction of text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

_NAME = re.compile(r'\s*"(?P<quoted>(?:[^"]|"")+)"\s*(?=,|$)|(?P<plain>[^,]+)')


def split_names(text: str) -> list[str]:
    """Return the names in a text that are separated by commas.

    A name that contains a comma is in double quotes: `id,"last, first"`. A quote in such a name is
    doubled.
    """
    names = [
        (found["quoted"] or "").replace('""', '"') or (found["plain"] or "").strip()
        for found in _NAME.finditer(text)
    ]
    return [name for name in names if name]


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return "1 key", "0 keys" or "1,500 keys".

    Args:
        count: How many.
        noun: In the singular.
        plural: For a noun whose plural is not the singular with -s.
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


LONGEST_MESSAGE = 4_000
"""Characters of a message that are shown and stored. A message may list values of a large file."""


def bounded(text: str) -> str:
    """Return the start of a text that is longer than a message may be, or the text itself.

    Redact the text first. The redactor might not recognize half of a secret.
    """
    more = len(text) - LONGEST_MESSAGE
    return text if more <= 0 else f"{text[:LONGEST_MESSAGE]}... ({counted(more, 'more character')})"


def first_line(exc: BaseException) -> str:
    """Return the first line of an exception's text, or the name of its class if it has none."""
    return str(exc).strip().partition("\n")[0] or type(exc).__name__


def cell(value: Any) -> str:
    """Return one value as text for people, always on one line."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        value = ", ".join(value) or "-"
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=for_json)
    text = str(plain(value)) if not isinstance(value, str) else value
    # Control characters could overwrite the table or control the terminal.
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def printable(text: str) -> str:
    """Return text for a terminal: escape characters that would control it, but not line ends."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def for_json(value: Any) -> Any:
    """Return a value that JSON has no type for as text; times with a T, as in ISO 8601."""
    return plain(value, between="T")


def plain(value: Any, *, between: str = " ") -> Any:
    """Return a value that JSON has no type for as text: times in ISO format, enums by value."""
    if hasattr(value, "isoformat"):
        if not (hasattr(value, "hour") and hasattr(value, "year")):
            return value.isoformat()
        return value.isoformat(between, "seconds")
    if hasattr(value, "value") and hasattr(type(value), "__members__"):
        return value.value
    return str(value)
