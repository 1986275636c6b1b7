"""Read JSON: one object on each line, or one array of objects.

Python checks that each row is an object with the file's columns. PostgreSQL gets its text
unchanged, because numbers that Python converts would lose digits.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from json import JSONDecoder
from shlex import quote
from typing import TYPE_CHECKING, Any

from oneoff.services.data.imports.errors import Problem, bad_file, listed, short
from oneoff.services.data.imports.readers.base import (
    SEPARATOR,
    BadRow,
    Chunk,
    Parsed,
    Reader,
    Row,
    Staged,
)
from oneoff.services.data.imports.readers.json_values import (
    DECODER,
    EXACT,
    TOO_DEEP,
    Decoder,
    Repeated,
    cell_of,
    decoded,
    message_of,
    surrogate_problem,
)
from oneoff.utils.possessive import repeated

if TYPE_CHECKING:
    from oneoff.services.data.columns import Column
    from oneoff.services.data.imports.plan import Plan
    from oneoff.services.data.imports.source import Source

_SPACE = re.compile(r"[ \t\r\n]*")
_ARRAY_MEMBER = re.compile(r'("' + repeated(r'[^"\\]|\\.') + r'")\s*+:\s*+\[\s*+\{')
_SCANNER = JSONDecoder(parse_float=str, parse_int=str)
_LONGEST = 256 << 20
"""Limit of characters in one object of an array: an object without an end must not fill memory."""


class JsonReader(Reader):
    """Reads JSON Lines; the members of the first object are the columns.

    Args:
        source: The file.
        wanted: The columns that the operator names. A later object may be the first one that has
            them, and objects may have other members too. A member that an object lacks is NULL;
            if its column has a default, the object is a bad row: which of the two is meant?

    Attributes:
        format_name: The name of the format in messages.
    """

    json = True
    format_name = "JSON Lines"

    def __init__(self, source: Source, wanted: Sequence[str] = ()) -> None:
        self.source, self._wanted = source, wanted
        self.names: tuple[str, ...] = ()
        first = next(self.chunks(), None)
        if first is None:
            return  # an empty array
        line, raw = first.raw_row(0)
        found = decoded(DECODER, raw)
        if isinstance(found, str):
            array = raw.lstrip().startswith(b"[")
            raise bad_file(
                source.name,
                f"is not {self.format_name}: line {line}, {found}",
                try_="it starts with an array: give --format json" if array else "",
            )
        if not found and not wanted:
            raise bad_file(
                source.name,
                f"has an object without members in line {line}, and the first object names the "
                "columns",
                try_="remove that object, or name the columns with --columns",
            )
        self.names = (*found, *self._found_later(set(wanted) - found.keys()))
        self._known = set(self.names)

    def _found_later(self, missing: set[str]) -> list[str]:
        """Return those of the missing names that a later object has."""
        later: list[str] = []
        rows = (raw for chunk in self.chunks() for raw in chunk.raw_rows)
        while missing and (raw := next(rows, None)) is not None:
            found = decoded(DECODER, raw)
            names = sorted(missing & found.keys()) if isinstance(found, dict) else []
            later += names
            missing = missing.difference(names)
        return later

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
        needed = _columns_with_default(plan)
        indexes: list[int] = []
        rows: list[Row] = []
        bad: list[BadRow] = []
        for at, raw in enumerate(chunk.raw_rows):
            line = chunk.raw_row(at).line
            found = self._cells(raw, columns, needed)
            if isinstance(found, str):
                bad.append((at, Problem(line, found, state="not-json")))
            elif b"\\u" in raw and (problem := surrogate_problem(found, columns, line)):
                bad.append((at, problem))
            else:
                indexes.append(at)
                rows.append(found)
        return Parsed.of_rows(indexes, rows, bad)

    def stage(self, chunk: Chunk, first: int) -> Staged:
        """Return the objects, each with its number before it."""
        needed = _columns_with_default(self.plan)
        lines: list[bytes] = []
        bad: list[BadRow] = []
        for at, raw in enumerate(chunk.raw_rows):
            found = self._object(DECODER, raw, needed)
            if isinstance(found, str):
                bad.append((at, Problem(chunk.raw_row(at).line, found, state="not-json")))
                continue
            # In JSON, line ends occur only between values: inside a string they are escaped.
            flat = raw.replace(b"\n", b" ").replace(b"\r", b" ")
            lines.append(b"%d%b%b\n" % (first + at, SEPARATOR, flat))
        return Staged(b"".join(lines), bad)

    def _cells(
        self, raw: bytes, columns: Sequence[Column | None], needed: frozenset[str]
    ) -> Row | str:
        """Return the cells of an object, or a description of what is wrong with its text."""
        found = self._object(EXACT, raw, needed)
        if isinstance(found, str):
            return found
        pairs = zip(self.names, columns, strict=True)
        try:
            return [cell_of(found.get(name), column) for name, column in pairs]
        except RecursionError:
            return TOO_DEEP

    def _object(self, decoder: Decoder, raw: bytes, needed: frozenset[str]) -> dict[str, Any] | str:
        """Return an object with known members, or a description of what is wrong with its text."""
        found = decoded(decoder, raw)
        if isinstance(found, Repeated):
            return f"the object has the member {short(found.repeated())} more than once"
        if isinstance(found, dict) and not self._wanted and not found.keys() <= self._known:
            unknown = listed(sorted(found.keys() - self._known))
            return (
                f"the object has {unknown}, which the first object does not have (if objects "
                "may differ, name the columns with --columns)"
            )
        if isinstance(found, dict) and not needed <= found.keys():
            return (
                f"the object lacks {listed(sorted(needed - found.keys()))}, which has a default "
                "(write the value or null, or import such objects from a file of their own)"
            )
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
                self._name,
                f"is not an array of JSON objects: line {self._line}, it {what}",
                try_=_array_advice(self._text[self._at :]) if sign == "[" else "",
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
                _, end = _SCANNER.raw_decode(self._text, self._at)
                # A number at the end of the text may continue in the next block.
                if end < len(self._text) or not self._read_block():
                    break
            except RecursionError:
                raise bad_file(
                    self._name, f"is not an array of JSON objects: line {self._line}, {TOO_DEEP}"
                ) from None
            except ValueError as exc:
                # An object that continues in the next block is an error too: read it and try again.
                if len(self._text) - self._at > _LONGEST or not self._read_block():
                    what = f"is incomplete or not JSON at line {self._line}: {message_of(exc)}"
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


def _columns_with_default(plan: Plan | None) -> frozenset[str]:
    """Return the names of the imported columns that get a default if a file does not have them."""
    written = plan.written if plan else ()
    return frozenset(column.name for column in written if column.has_default or column.identity)


def _array_advice(text: str) -> str:
    """Return how to import a file that does not start with an array."""
    if not text.startswith("{"):
        return ""
    with suppress(ValueError, RecursionError):
        _, end = _SCANNER.raw_decode(text)
        if text[end:].strip():
            return "it has one object after another: give --format jsonl"
    # An object that contains the rows, as web interfaces return them.
    member = _ARRAY_MEMBER.search(text)
    path = quote(f".[{member[1]}]" if member else ".NAME")
    return f"select the array of rows: jq {path} FILE > rows.json, and import rows.json"


def _without_blank_lines(raw_rows: Sequence[bytes], line: int, size: int) -> Iterable[Chunk]:
    """Return one chunk with the lines that are not blank, or no chunk."""
    if all(map(bytes.strip, raw_rows)):
        return [Chunk(line, raw_rows, None, size)]
    rows = [(line + at, raw) for at, raw in enumerate(raw_rows) if raw.strip()]
    if not rows:
        return []
    return [Chunk(line, [raw for _, raw in rows], [number for number, _ in rows], size)]
