"""Look at a whole file before the first write: encoding, open quotes, a cut end, another format.

A pass over a million rows takes a tenth of a second: less than finding out while they are written.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING

from oneoff.data.import_errors import bad_file

if TYPE_CHECKING:
    from oneoff.data.files import Format
    from oneoff.data.import_source import Source
    from oneoff.errors import DataError

_WIDE = (b"\xff\xfe", b"\xfe\xff")
_END_OF_DATA = re.compile(rb"(?:^|\n)\\\.\r?\n")
_PARQUET = b"PAR1"


def look_at(source: Source, kind: Format) -> int:
    """Read the file once, and return its size, decompressed.

    Raises:
        DataError: It can't be imported, whatever its rows are.
    """
    if source.started == _PARQUET and kind != "parquet":
        raise bad_file(source.name, "is a Parquet file", try_="--format parquet")
    if source.started[:2] in _WIDE:
        raise _encoding(source, "UTF-16", 1)
    look = _Look(source, kind)
    for block in source.read_blocks():
        look.block(block)
    return look.end()


class _Look:
    """One pass."""

    def __init__(self, source: Source, kind: Format) -> None:
        self._source, self._csv = source, kind == "csv"
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._lines = self._size = self._quotes = 0
        self._last = b""

    def block(self, block: bytes) -> None:
        try:
            self._decoder.decode(block)
        except UnicodeDecodeError as exc:
            lines = self._lines + exc.object[: exc.start].count(b"\n") + 1
            raise _encoding(self._source, "", lines) from None
        if b"\0" in block:
            raise bad_file(self._source.name, "is no text: it holds zero bytes")
        joined = self._last + block
        if self._csv:
            self._csv_block(joined, len(self._last))
        self._size += len(block)
        self._lines += block.count(b"\n")
        self._last = block[-4:]

    def _csv_block(self, joined: bytes, before: int) -> None:
        """Refuse a line of a backslash and a point alone: there the data ends for the server."""
        if b"\\." in joined:
            for found in _END_OF_DATA.finditer(joined):
                quotes = self._quotes + joined.count(b'"', before, found.start() + 1)
                if quotes % 2 == 0:
                    line = self._lines + joined.count(b"\n", before, found.start() + 1) + 1
                    raise bad_file(
                        self._source.name,
                        f"ends at line {line:,}, which is only \\.",
                        try_='write it as "\\."',
                    )
        self._quotes += joined.count(b'"', before)

    def end(self) -> int:
        """Return the size."""
        try:
            self._decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise _encoding(self._source, "", self._lines + 1) from None
        if self._quotes % 2:
            raise bad_file(self._source.name, "breaks off: a quote is opened and never closed")
        if not self._size:
            raise bad_file(self._source.name, "is empty")
        return self._size


def _encoding(source: Source, known: str, line: int) -> DataError:
    what = known or "no UTF-8"
    return bad_file(
        source.name,
        f"is {what} (line {line:,})",
        try_=f"iconv -f {known or 'LATIN1'} -t UTF-8 {source.path} > utf8.csv",
        code="bad-encoding",
    )
