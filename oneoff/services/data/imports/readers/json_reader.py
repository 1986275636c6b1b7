"""Read JSON: one object on each line, or one array of objects.

Python checks that each row is an object with the file's columns. PostgreSQL gets its text
unchanged, because numbers that Python converts would lose digits.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from json import JSONDecoder, dumps
from typing import TYPE_CHECKING, Any

from oneoff.services.data.columns import Kind
from oneoff.services.data.imports.errors import Problem, bad_file
from oneoff.services.data.imports.readers.base import (
    SEPARATOR,
    BadRow,
    Chunk,
    Parsed,
    Reader,
    Row,
    Staged,
)

if TYPE_CHECKING:
    from oneoff.services.data.columns import Column
    from oneoff.services.data.imports.plan import Plan
    from oneoff.services.data.imports.source import Source

_TOO_DEEP = "the row is nested too deeply"
_SPACE = re.compile(r"[ \t\r\n]*")
_UNSTORABLE = re.compile("[\\ud800-\\udfff\\0]")
_LONGEST = 256 << 20
"""Limit of characters in one object of an array: an object without an end must not fill memory."""


class _Number(str):
    """A number as it is written in the file."""

    __slots__ = ()


def _no_constant(text: str) -> Any:
    message = f"{text} is not JSON"
    raise ValueError(message)


# Both decoders return numbers as text: parsing them takes time, and a number may have more digits
# than Python can parse. The second one distinguishes numbers from strings, which is necessary if
# the value is written as JSON again.
_DECODER = JSONDecoder(parse_float=str, parse_int=str, parse_constant=_no_constant)
_EXACT = JSONDecoder(parse_float=_Number, parse_int=_Number, parse_constant=_no_constant)


class JsonReader(Reader):
    """Reads JSON Lines; the members of the first object are the columns.

    Attributes:
        format_name: The name of the format in messages.
    """

    json = True
    format_name = "JSON Lines"

    def __init__(self, source: Source) -> None:
        self.source = source
        self.names: tuple[str, ...] = ()
        first = next(self.chunks(), None)
        if first is None:
            return  # an empty array
        found = _decoded(_DECODER, first.raw_rows[0])
        if isinstance(found, str):
            line = first.raw_row(0).line
            raise bad_file(source.name, f"is not {self.format_name}: line {line}, {found}")
        if not found:
            line = first.raw_row(0).line
            raise bad_file(
                source.name,
                f"has an object without members in line {line}, and the first object names the "
                "columns",
                try_="remove that object",
            )
        self.names = tuple(found)
        self._known = set(self.names)

    def chunks(self) -> Iterator[Chunk]:
        """Yield the objects; blank lines are left out."""
        rest, line = b"", 1
        for block in self.source.read_blocks():
            whole, end, rest = (rest + block).rpartition(b"\n")
            if end:
                raw_rows = whole.split(b"\n")
                yield from _without_blank_lines(raw_rows, line, len(block))
                line += len(raw_rows)
        yield from _without_blank_lines([rest], line, 0)

    def parse(self, chunk: Chunk, plan: Plan | None) -> Parsed:
        """Return the values as the texts that csv would contain."""
        columns = plan.columns if plan else (None,) * len(self.names)
        indexes: list[int] = []
        rows: list[Row] = []
        bad: list[BadRow] = []
        for at, raw in enumerate(chunk.raw_rows):
            found = self._cells(raw, columns)
            if isinstance(found, str):
                bad.append((at, Problem(chunk.raw_row(at).line, found, state="not-json")))
                continue
            indexes.append(at)
            rows.append(found)
        return Parsed.of_rows(indexes, rows, bad)

    def stage(self, chunk: Chunk, first: int) -> Staged:
        """Return the objects, each with its number before it."""
        lines: list[bytes] = []
        bad: list[BadRow] = []
        for at, raw in enumerate(chunk.raw_rows):
            found = self._object(_DECODER, raw)
            if isinstance(found, str):
                bad.append((at, Problem(chunk.raw_row(at).line, found, state="not-json")))
                continue
            # In JSON, line ends occur only between values: inside a string they are escaped.
            flat = raw.replace(b"\n", b" ").replace(b"\r", b" ")
            lines.append(b"%d%b%b\n" % (first + at, SEPARATOR, flat))
        return Staged(b"".join(lines), bad)

    def _cells(self, raw: bytes, columns: Sequence[Column | None]) -> Row | str:
        """Return the cells of an object, or a description of what is wrong with its text."""
        found = self._object(_EXACT, raw)
        if isinstance(found, str):
            return found
        pairs = zip(self.names, columns, strict=True)
        try:
            return [_cell(found.get(name), column) for name, column in pairs]
        except RecursionError:
            return _TOO_DEEP

    def _object(self, decoder: JSONDecoder, raw: bytes) -> dict[str, Any] | str:
        """Return an object with known members, or a description of what is wrong with its text."""
        found = _decoded(decoder, raw)
        if isinstance(found, dict) and not found.keys() <= self._known:
            unknown = sorted(found.keys() - self._known)
            return f"the object has {', '.join(unknown)}, which the first object does not have"
        return found


class JsonArrayReader(JsonReader):
    """Reads one array of objects, with any whitespace."""

    format_name = "an array of JSON objects"

    def chunks(self) -> Iterator[Chunk]:
        """Yield the objects.

        Raises:
            DataError: The file is not an array, or it is incomplete.
        """
        array = _ArrayScanner(self.source)
        array.expect("[")
        if array.skip_sign("]"):
            array.expect_end_of_file()
            return
        has_more = True
        while has_more:
            raw_rows: list[bytes] = []
            lines: list[int] = []
            before = array.bytes_read
            while has_more and array.bytes_read == before:
                line, raw = array.next_value()
                raw_rows.append(raw.encode())
                lines.append(line)
                has_more = array.skip_sign(",")
                if not has_more:
                    array.expect("]")
            yield Chunk(lines[0], raw_rows, lines, array.bytes_read - before)
        array.expect_end_of_file()

    def rejects_header(self) -> bytes:
        """Return the start of the array."""
        return b"[\n"

    def rejects_separator(self) -> bytes:
        """Return a comma and a line end."""
        return b",\n"

    def rejects_footer(self) -> bytes:
        """Return the end of the array."""
        return b"\n]\n"


class _ArrayScanner:
    """Scans the text of an array, with only one part of it in memory.

    Attributes:
        bytes_read: The number of bytes read from the file so far.
    """

    def __init__(self, source: Source) -> None:
        self._name = source.name
        self._blocks = source.read_blocks()
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text, self._at, self._line, self.bytes_read = "", 0, 1, 0

    def expect(self, sign: str) -> None:
        """Skip a character that must come next.

        Raises:
            DataError: Another character comes next, or the file ends.
        """
        if not self.skip_sign(sign):
            found = self._text[self._at : self._at + 1]
            what = f"has {found!r} instead of {sign!r}" if found else "is incomplete"
            raise bad_file(
                self._name, f"is not an array of JSON objects: line {self._line}, it {what}"
            )

    def skip_sign(self, sign: str) -> bool:
        """Skip a character if it comes next; return whether it did."""
        self._skip_space()
        if not self._text.startswith(sign, self._at):
            return False
        self._at += 1
        return True

    def expect_end_of_file(self) -> None:
        """Check that nothing follows the array.

        Raises:
            DataError: More text follows.
        """
        self._skip_space()
        if self._at < len(self._text):
            raise bad_file(self._name, f"has more text after its array, in line {self._line}")

    def next_value(self) -> tuple[int, str]:
        """Return the line and the text of the next value.

        Raises:
            DataError: The value is not JSON, it is too long, or the file ends before its end.
        """
        self._skip_space()
        while True:
            try:
                _, end = _DECODER.raw_decode(self._text, self._at)
                # A number at the end of the text may continue in the next block.
                if end < len(self._text) or not self._read_block():
                    break
            except RecursionError:
                raise bad_file(
                    self._name, f"is not an array of JSON objects: line {self._line}, {_TOO_DEEP}"
                ) from None
            except ValueError as exc:
                # An object that continues in the next block is an error too: read it and try again.
                if len(self._text) - self._at > _LONGEST or not self._read_block():
                    what = f"is incomplete or not JSON at line {self._line}: {_message(exc)}"
                    raise bad_file(self._name, what) from None
        line, raw = self._line, self._text[self._at : end]
        self._advance(end)
        return line, raw

    def _skip_space(self) -> None:
        while True:
            found = _SPACE.match(self._text, self._at)
            self._advance(found.end() if found else self._at)
            if self._at < len(self._text) or not self._read_block():
                return

    def _advance(self, to: int) -> None:
        self._line += self._text.count("\n", self._at, to)
        self._at = to

    def _read_block(self) -> bool:
        """Append the next block to the remaining text; return False at the end of the file."""
        block = next(self._blocks, None)
        if block is None:
            return False
        self.bytes_read += len(block)
        self._text = self._text[self._at :] + self._decoder.decode(block)
        self._at = 0
        return True


def _message(exc: ValueError) -> str:
    return str(getattr(exc, "msg", exc))


def _without_blank_lines(raw_rows: Sequence[bytes], line: int, size: int) -> Iterable[Chunk]:
    """Return one chunk with the lines that are not blank, or no chunk."""
    if all(raw_rows) and not any(raw.isspace() for raw in (raw_rows[0], raw_rows[-1])):
        return [Chunk(line, raw_rows, None, size)]
    rows = [(line + at, raw) for at, raw in enumerate(raw_rows) if raw.strip()]
    if not rows:
        return []
    return [Chunk(line, [raw for _, raw in rows], [number for number, _ in rows], size)]


def _decoded(decoder: JSONDecoder, raw: bytes) -> dict[str, Any] | str:
    """Return an object, or a description of what is wrong with its text."""
    try:
        found = decoder.decode(raw.decode())
    except ValueError as exc:
        return f"the row is not JSON: {_message(exc)}"
    except RecursionError:
        return _TOO_DEEP
    return found if isinstance(found, dict) else "the row is not a JSON object"


def _cell(value: Any, column: Column | None) -> str | None:
    """Return a value of an object as a csv cell; None for NULL."""
    if value is None:
        return None
    if column is not None and column.kind is Kind.JSON:
        return _encoded(value)
    if isinstance(value, bool):
        return "t" if value else "f"
    return str(value) if isinstance(value, str) else _encoded(value)


def unstorable_member(raw: bytes, names: Sequence[str]) -> str | None:
    """Return the first member of an object whose text the database can't store.

    Such a text contains half of a surrogate pair, or a zero character.
    """
    found = _decoded(_DECODER, raw)
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
        members = ",".join(
            f"{_encoded(str(name))}:{_encoded(item)}" for name, item in value.items()
        )
        return f"{{{members}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_encoded, value))}]"
    return str(value) if isinstance(value, _Number) else dumps(value, ensure_ascii=False)
