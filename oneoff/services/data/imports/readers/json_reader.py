"""Rows of JSON: an object a line, or one array of objects.

Python checks that each is an object with the file's columns; its text goes on as it is, for the
numbers in it would lose digits on a way through Python.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from json import JSONDecoder, dumps
from typing import TYPE_CHECKING, Any

from oneoff.services.data.columns import Kind
from oneoff.services.data.imports.errors import Problem, bad_file
from oneoff.services.data.imports.readers.base import SEPARATOR, Parsed, Staged
from oneoff.services.data.imports.readers.csv_reader import Cells, Chunk

if TYPE_CHECKING:
    from oneoff.services.data.columns import Column
    from oneoff.services.data.imports.plan import Plan
    from oneoff.services.data.imports.source import Source

_TOO_DEEP = "the row is nested too deep"
_SPACE = re.compile(r"[ \t\r\n]*")
_UNSTORABLE = re.compile("[\\ud800-\\udfff\\0]")
_LONGEST = 256 << 20
"""Characters that one object of an array may have: one that never ends must not fill memory."""


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def _no_constant(text: str) -> Any:
    message = f"{text} is no JSON"
    raise ValueError(message)


# Numbers stay texts: to make them costs time, and one may have more digits than Python takes.
_DECODER = JSONDecoder(parse_float=str, parse_int=str, parse_constant=_no_constant)
_EXACT = JSONDecoder(parse_float=_Number, parse_int=_Number, parse_constant=_no_constant)


class JsonReader:
    """Reads JSON lines; the members of the first object are the columns."""

    json = True

    def __init__(self, source: Source) -> None:
        self.source = source
        self.names: tuple[str, ...] = ()
        first = next(self.chunks(), None)
        if first is None:
            return  # an empty array
        found = _read(_DECODER, first.raws[0])
        if isinstance(found, str):
            raise bad_file(source.name, f"is no {self.what}: line {first.record(0).line}, {found}")
        self.names = tuple(found)
        self._wanted = set(self.names)

    @property
    def what(self) -> str:
        """What the file is, for messages."""
        return "JSON lines"

    def chunks(self) -> Iterator[Chunk]:
        """Give the objects; blank lines are none."""
        rest, line = b"", 1
        for block in self.source.read_blocks():
            whole, end, rest = (rest + block).rpartition(b"\n")
            if end:
                raws = whole.split(b"\n")
                yield from _chunk(raws, line, len(block))
                line += len(raws)
        yield from _chunk([rest], line, 0)

    def parse(self, chunk: Chunk, plan: Plan | None) -> Parsed:
        """Return the values as texts, as csv would have them."""
        columns = plan.columns if plan else (None,) * len(self.names)
        at: list[int] = []
        rows: list[Cells] = []
        bad: list[tuple[int, Problem]] = []
        for place, raw in enumerate(chunk.raws):
            found = self._cells(raw, columns)
            if isinstance(found, str):
                bad.append((place, Problem(chunk.record(place).line, found, state="not-json")))
                continue
            at.append(place)
            rows.append(found)
        return Parsed.of_rows(at, rows, bad)

    def stage(self, chunk: Chunk, first: int) -> Staged:
        """Put its number before each object."""
        lines: list[bytes] = []
        bad: list[tuple[int, Problem]] = []
        for place, raw in enumerate(chunk.raws):
            found = self._checked(_DECODER, raw)
            if isinstance(found, str):
                bad.append((place, Problem(chunk.record(place).line, found, state="not-json")))
                continue
            flat = raw.replace(b"\n", b" ").replace(b"\r", b" ")
            lines.append(b"%d%b%b\n" % (first + place, SEPARATOR, flat))
        return Staged(b"".join(lines), bad)

    def begin(self) -> bytes:
        """Nothing stands before the rows."""
        return b""

    def between(self, at: int) -> bytes:
        """End the line before."""
        return b"\n" if at else b""

    def end(self) -> bytes:
        """End the last line."""
        return b"\n"

    def _cells(self, raw: bytes, columns: Sequence[Column | None]) -> Cells | str:
        found = self._checked(_EXACT, raw)
        if isinstance(found, str):
            return found
        pairs = zip(self.names, columns, strict=True)
        try:
            return [_cell(found.get(name), column) for name, column in pairs]
        except RecursionError:
            return _TOO_DEEP

    def _checked(self, decoder: JSONDecoder, raw: bytes) -> dict[str, Any] | str:
        found = _read(decoder, raw)
        if isinstance(found, dict) and not found.keys() <= self._wanted:
            unknown = sorted(found.keys() - self._wanted)
            return f"the object has {', '.join(unknown)}, which the first one does not have"
        return found


class JsonArrayReader(JsonReader):
    """Reads one array of objects, however it is laid out."""

    @property
    def what(self) -> str:
        """What the file is, for messages."""
        return "array of JSON objects"

    def chunks(self) -> Iterator[Chunk]:
        """Give the objects.

        Raises:
            DataError: The file is no array, or it breaks off.
        """
        text = _Text(self.source)
        text.expect("[")
        if text.at_sign("]"):
            text.expect_end()
            return
        while True:
            raws: list[bytes] = []
            lines: list[int] = []
            before = text.read
            go_on = True
            while go_on and text.read == before:
                line, raw = text.value()
                raws.append(raw.encode())
                lines.append(line)
                go_on = text.comma()
            yield Chunk(lines[0], raws, lines, text.read - before)
            if not go_on:
                text.expect_end()
                return

    def begin(self) -> bytes:
        """Open the array."""
        return b"[\n"

    def between(self, at: int) -> bytes:
        """Separate the objects."""
        return b",\n" if at else b""

    def end(self) -> bytes:
        """Close the array."""
        return b"\n]\n"


class _Text:
    """The text of a file, of which a part is in memory.

    Attributes:
        read: Bytes that were read so far.
    """

    def __init__(self, source: Source) -> None:
        self._name = source.name
        self._blocks = source.read_blocks()
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text, self._at, self._line, self.read = "", 0, 1, 0

    def expect(self, sign: str) -> None:
        """Go behind a sign."""
        if not self.at_sign(sign):
            found = self._text[self._at : self._at + 1]
            what = f"has {found!r} instead of {sign!r}" if found else "breaks off"
            raise bad_file(self._name, f"is no array of JSON objects: line {self._line}, it {what}")

    def at_sign(self, sign: str) -> bool:
        """Go behind a sign if it comes next."""
        self._skip_space()
        if not self._text.startswith(sign, self._at):
            return False
        self._at += 1
        return True

    def comma(self) -> bool:
        """Return whether another value follows."""
        if self.at_sign(","):
            return True
        self.expect("]")
        return False

    def expect_end(self) -> None:
        """Refuse what follows the array."""
        self._skip_space()
        if self._at < len(self._text):
            raise bad_file(self._name, f"goes on behind its array, in line {self._line}")

    def value(self) -> tuple[int, str]:
        """Return the next value, and its line."""
        self._skip_space()
        while True:
            try:
                _, end = _DECODER.raw_decode(self._text, self._at)
                # A number may go on in the next block.
                if end < len(self._text) or not self._more():
                    break
            except RecursionError:
                raise bad_file(
                    self._name, f"is no array of JSON objects: line {self._line}, {_TOO_DEEP}"
                ) from None
            except ValueError as exc:
                if len(self._text) - self._at > _LONGEST or not self._more():
                    raise bad_file(
                        self._name, f"breaks off or is no JSON at line {self._line}: {_said(exc)}"
                    ) from None
        line, raw = self._line, self._text[self._at : end]
        self._go(end)
        return line, raw

    def _skip_space(self) -> None:
        while True:
            found = _SPACE.match(self._text, self._at)
            self._go(found.end() if found else self._at)
            if self._at < len(self._text) or not self._more():
                return

    def _go(self, to: int) -> None:
        self._line += self._text.count("\n", self._at, to)
        self._at = to

    def _more(self) -> bool:
        block = next(self._blocks, None)
        if block is None:
            return False
        self.read += len(block)
        self._text = self._text[self._at :] + self._decoder.decode(block)
        self._at = 0
        return True


def _said(exc: ValueError) -> str:
    return str(getattr(exc, "msg", exc))


def _chunk(raws: Sequence[bytes], line: int, size: int) -> Iterable[Chunk]:
    """Return the lines that are not blank, if there are any."""
    if all(raws) and not any(raw.isspace() for raw in (raws[0], raws[-1])):
        return [Chunk(line, raws, None, size)]
    there = [(line + at, raw) for at, raw in enumerate(raws) if raw.strip()]
    if not there:
        return []
    return [Chunk(line, [raw for _, raw in there], [number for number, _ in there], size)]


def _read(decoder: JSONDecoder, raw: bytes) -> dict[str, Any] | str:
    """Return an object, or what is wrong with its text."""
    try:
        found = decoder.decode(raw.decode())
    except ValueError as exc:
        return f"the row is no JSON: {_said(exc)}"
    except RecursionError:
        return _TOO_DEEP
    return found if isinstance(found, dict) else "the row is no JSON object"


def _cell(value: Any, column: Column | None) -> str | None:
    if value is None:
        return None
    if column is not None and column.kind is Kind.JSON:
        return _dumped(value)
    if isinstance(value, bool):
        return "t" if value else "f"
    return str(value) if isinstance(value, str) else _dumped(value)


def unstorable_member(raw: bytes, names: Sequence[str]) -> str | None:
    """Return the first member of an object whose texts no database takes.

    They hold half of a pair of surrogates, or a zero byte.
    """
    found = _read(_DECODER, raw)
    if isinstance(found, str):
        return None
    return next((name for name in names if not _is_storable(found.get(name))), None)


def _is_storable(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_storable(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return all(map(_is_storable, value))
    return not isinstance(value, str) or not _UNSTORABLE.search(value)


def _dumped(value: Any) -> str:
    """Return JSON in which each number is as it was."""
    if isinstance(value, dict):
        members = ",".join(f"{_dumped(str(name))}:{_dumped(item)}" for name, item in value.items())
        return f"{{{members}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_dumped, value))}]"
    return str(value) if isinstance(value, _Number) else dumps(value, ensure_ascii=False)
