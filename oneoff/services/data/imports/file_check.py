"""Check an entire text file before the first write.

The check finds a wrong encoding, a quote that csv does not allow, a truncated file and a file in
another format. For a million rows it takes a tenth of a second, with many quotes a third, which is
less than an import that fails halfway. Lines are counted only if there is an error.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, NamedTuple

from oneoff.services.data.imports.errors import bad_file
from oneoff.services.data.imports.file_kinds import refuse_other_kinds
from oneoff.services.data.imports.readers.csv_quotes import BadQuote, QuoteScanner

if TYPE_CHECKING:
    from oneoff.core.errors import DataError
    from oneoff.services.data.files import Format
    from oneoff.services.data.imports.source import Source

_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_END_OF_DATA = re.compile(rb"\n\\\.\r?\n")
_COMPRESSED = (".gz", ".zst")


class FileFacts(NamedTuple):
    """The facts about a valid file.

    Attributes:
        size: Bytes after decompression.
        mixed_line_ends: Whether some lines of a csv file end with CR LF and others with LF or CR
            alone. Line ends inside quotes count too.
        bad_quote: The first quote in a csv file that is not allowed; None if there is none.
    """

    size: int
    mixed_line_ends: bool
    bad_quote: BadQuote | None


def check_file(source: Source, file_format: Format) -> FileFacts:
    """Read the file once.

    Raises:
        DataError: The file can't be imported, independent of its rows.
    """
    refuse_other_kinds(source)
    if source.signature[:2] in _UTF_16_MARKS:
        raise _encoding(source, "UTF-16", 1)
    scanner = _FileScanner(source, file_format)
    for block in source.read_blocks():
        scanner.scan(block)
    return scanner.finish()


def bad_quote_error(source: Source, bad: BadQuote) -> DataError:
    """Return the error for a quote in a csv file that is not allowed."""
    line = _line_at(source, bad.offset)
    if not bad.closed:
        return bad_file(
            source.name,
            f"is incomplete: a quote is opened in line {line:,} and never closed",
            try_="close it, or give the complete file",
        )
    if bad.opened is None:
        what = f"has a quote in line {line:,} inside a cell that does not start with a quote"
    else:
        opened = _line_at(source, bad.opened)
        starts = f", which starts in line {opened:,}" if opened != line else ""
        what = f"has text after the closing quote of a cell in line {line:,}{starts}"
    return bad_file(
        source.name,
        what,
        try_='write such a cell in quotes, and each quote in it twice: "5\'10"" tall"',
    )


class _FileScanner:
    """One pass over a file.

    State between two blocks:

    - `_last` is the end of the last block. A line end or the end-of-data mark may span two blocks.
    - `_decoder` keeps the first bytes of a character that spans two blocks.
    - `_quotes` counts all quotes so far; an odd number means that a cell is open.
    - `_quote_scanner` finds a quote that is not allowed.
    - `_cr` counts all carriage returns, `_crlf` those that precede a line feed.
    - `_lf` is set if a line ends with a line feed alone.
    """

    def __init__(self, source: Source, file_format: Format) -> None:
        self._source, self._csv = source, file_format == "csv"
        # An empty file is a valid JSON Lines file. If it is compressed, it must have bytes on the
        # disk: a compressed file of zero bytes is truncated.
        self._may_be_empty = file_format == "jsonl" and (
            bool(source.size) or not source.path.endswith(_COMPRESSED)
        )
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._quote_scanner = QuoteScanner()
        self._size = self._quotes = 0
        self._cr = self._crlf = 0
        self._lf = False
        self._last = b"\n"

    def scan(self, block: bytes) -> None:
        if not block.isascii() or self._decoder.getstate()[0]:
            self._decode(block)
        if (zero := block.find(b"\0")) >= 0:
            line = _line_at(self._source, self._size + zero)
            raise bad_file(self._source.name, f"is not text: line {line:,} contains a zero byte")
        if self._csv:
            self._scan_csv(block)
        self._size += len(block)
        self._last = block[-4:]

    def _decode(self, block: bytes, *, final: bool = False) -> None:
        try:
            self._decoder.decode(block, final=final)
        except UnicodeDecodeError as exc:
            # Bytes that the decoder has kept from the block before.
            before = len(exc.object) - len(block)
            raise _encoding(
                self._source, "", _line_at(self._source, self._size - before + exc.start)
            ) from None

    def _scan_csv(self, block: bytes) -> None:
        if b"\\" in block or b"\\" in self._last:
            self._refuse_end_of_data(self._last + block, len(self._last))
        self._quotes += block.count(b'"')
        self._quote_scanner.scan(block)
        if not (self._crlf and self._lf):
            self._scan_line_ends(block)

    def _refuse_end_of_data(self, joined: bytes, before: int) -> None:
        """Refuse a line of only a backslash and a period, unless it is inside quotes.

        Up to PostgreSQL 17, COPY reads it as the end of the data and ignores all rows below it
        without an error.
        """
        for found in _END_OF_DATA.finditer(joined):
            quotes = self._quotes + joined.count(b'"', before, found.start() + 1)
            if quotes % 2 == 0:
                line = _line_at(self._source, self._size - before + found.start() + 1)
                raise bad_file(
                    self._source.name,
                    f"contains the end-of-data mark \\. in line {line:,}",
                    try_='write it as "\\." if it is data, or delete the line',
                )

    def _scan_line_ends(self, block: bytes) -> None:
        if b"\r" not in block and not self._last.endswith(b"\r"):
            self._lf = self._lf or b"\n" in block
            return
        crlf = block.count(b"\r\n") + (self._last.endswith(b"\r") and block.startswith(b"\n"))
        self._cr += block.count(b"\r")
        self._crlf += crlf
        self._lf = self._lf or block.count(b"\n") > crlf

    def finish(self) -> FileFacts:
        """Check the end of the file, and return the facts about it.

        Raises:
            DataError: The last character is incomplete, or the file is empty.
        """
        self._decode(b"", final=True)
        if not self._size and not self._may_be_empty:
            raise bad_file(self._source.name, "is empty")
        # In a file with CR LF line ends, COPY refuses a line feed alone as a line end. It also
        # counts carriage returns inside quotes as lines, so its errors would name wrong lines.
        mixed_line_ends = bool(self._crlf) and (self._lf or self._cr > self._crlf)
        bad_quote = self._quote_scanner.finish() if self._csv else None
        return FileFacts(self._size, mixed_line_ends, bad_quote)


def _line_at(source: Source, offset: int) -> int:
    """Return the number of the line that contains a byte; the first line is 1."""
    line = 1
    for block in source.read_blocks():
        line += block.count(b"\n", 0, max(offset, 0))
        offset -= len(block)
        if offset <= 0:
            break
    return line


def _encoding(source: Source, known: str, line: int) -> DataError:
    what = known or "not UTF-8"
    return bad_file(
        source.name,
        f"is {what} (line {line:,})",
        try_=f"iconv -f {known or 'LATIN1'} -t UTF-8 {source.path} > utf8.csv",
        code="bad-encoding",
    )
