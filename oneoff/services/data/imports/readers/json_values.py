"""Decode the objects of a JSON file, and convert their members to the texts of csv."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from json import JSONDecoder, dumps
from typing import TYPE_CHECKING, Any

from oneoff.database import sqlstates
from oneoff.services.data.columns import Kind
from oneoff.services.data.imports.errors import Problem, problem_of

if TYPE_CHECKING:
    from oneoff.services.data.columns import Column
    from oneoff.services.data.imports.readers.base import Row

TOO_DEEP = "the row is nested too deeply"
_SURROGATE = re.compile("[\\ud800-\\udfff]")
_UNSTORABLE = re.compile("[\\ud800-\\udfff\\0]")


class _Number(str):
    """A number as it is written in the file."""

    __slots__ = ()


def _no_constant(text: str) -> Any:
    message = f"{text} is not JSON"
    raise ValueError(message)


class Repeated(dict[str, Any]):
    """An object that has a member twice.

    Attributes:
        pairs: All of its members, in the order of the file.
    """

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs

    def repeated(self) -> str:
        """Return the name of the first member that it has twice."""
        names = [name for name, _ in self.pairs]
        return next(name for at, name in enumerate(names) if name in names[:at])


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else Repeated(pairs)


class Decoder:
    """Decodes JSON, and leaves numbers as texts.

    Parsing numbers takes time, and a number may have more digits than Python can parse.

    Args:
        number: The class of the numbers' texts.
    """

    def __init__(self, number: type[str]) -> None:
        self._quick = _json_decoder(number, None)
        self._complete = _json_decoder(number, _object_of)

    def decode(self, raw: bytes) -> Any:
        """Return a value; an object that has a member twice is a `Repeated`.

        Raises:
            ValueError: The bytes are not JSON.
            RecursionError: It is nested too deeply.
        """
        text = raw.decode()
        found = self._quick.decode(text)
        # The function for pairs takes as long as all the rest. It is needed only if there are more
        # names than members, or if names can't be counted in this way.
        countable = (
            b'" ' not in raw and b'"\t' not in raw and b'"\r' not in raw and b'"\n' not in raw
        )
        if countable and isinstance(found, dict) and raw.count(b'":') == len(found):
            return found
        return self._complete.decode(text)


def _json_decoder(number: type[str], pairs: Callable[..., Any] | None) -> JSONDecoder:
    return JSONDecoder(
        parse_float=number,
        parse_int=number,
        parse_constant=_no_constant,
        object_pairs_hook=pairs,
    )


DECODER = Decoder(str)
EXACT = Decoder(_Number)
"""Distinguishes numbers from texts, which is necessary if the value is written as JSON again."""


def message_of(exc: ValueError) -> str:
    """Return what is wrong with a text, without the position, which depends on the block."""
    return str(getattr(exc, "msg", exc))


def decoded(decoder: Decoder, raw: bytes) -> dict[str, Any] | str:
    """Return an object, or a description of what is wrong with its text."""
    try:
        found = decoder.decode(raw)
    except ValueError as exc:
        return f"the row is not JSON: {message_of(exc)}"
    except RecursionError:
        return TOO_DEEP
    return found if isinstance(found, dict) else "the row is not a JSON object"


def cell_of(value: Any, column: Column | None) -> str | None:
    """Return a value of an object as a csv cell; None for NULL."""
    if value is None:
        return None
    if column is not None and column.kind is Kind.JSON:
        return _encoded(value)
    return str(value) if isinstance(value, str) else _encoded(value)


def surrogate_problem(cells: Row, columns: Sequence[Column | None], line: int) -> Problem | None:
    """Return the problem of a row with half of a surrogate pair, which no database can store."""
    for cell, column in zip(cells, columns, strict=True):
        if cell is not None and not cell.isascii() and _SURROGATE.search(cell):
            named = [] if column is None else [column]
            return problem_of(sqlstates.UNTRANSLATABLE_CHARACTER, named, [cell], line=line)
    return None


def unstorable_member(raw: bytes, names: Sequence[str]) -> str | None:
    """Return the first member of an object whose text the database can't store.

    Such a text contains half of a surrogate pair, or a zero character.
    """
    found = decoded(DECODER, raw)
    if isinstance(found, str):
        return None
    return next((name for name in names if not _is_storable(found.get(name))), None)


def _is_storable(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_storable(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return all(map(_is_storable, value))
    return not isinstance(value, str) or not _UNSTORABLE.search(value)


def _encoded(value: Any) -> str:
    """Return JSON with each number as it was written in the file."""
    if isinstance(value, dict):
        pairs = value.pairs if isinstance(value, Repeated) else value.items()
        members = ",".join(f"{_encoded(str(name))}:{_encoded(item)}" for name, item in pairs)
        return f"{{{members}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_encoded, value))}]"
    return str(value) if isinstance(value, _Number) else dumps(value, ensure_ascii=False)
