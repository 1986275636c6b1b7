"""Recognize files that are no text, or text of another kind, by their first bytes.

Such a file often has a name that ends in .csv: a workbook, an archive, or the web page of a failed
download. Its error would otherwise be about an encoding.
"""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

from oneoff.services.data.imports.errors import bad_file
from oneoff.services.data.imports.request import STDIN

if TYPE_CHECKING:
    from oneoff.services.data.imports.source import Source

_START = 512  # bytes that show the kind of a file
_SAVE_AS_CSV = "open it in a spreadsheet, and save the sheet as csv in UTF-8"


class _Kind(NamedTuple):
    """A kind of file that can't be imported as text.

    Attributes:
        signature: The bytes that identify it.
        what: Its name, as text that follows "is".
        advice: What to do; `{file}` stands for the path.
        at: The number of bytes before the signature.
    """

    signature: bytes
    what: str
    advice: str
    at: int = 0


_KINDS = (
    _Kind(b"PK\x03\x04", "a zip archive", "unzip -p {file} > rows.csv"),
    _Kind(b"PK\x05\x06", "an empty zip archive", "give a file with rows"),
    _Kind(b"\xd0\xcf\x11\xe0", "a workbook of an old Excel", _SAVE_AS_CSV),
    _Kind(b"1AY&SY", "compressed with bzip2", "bzip2 -dc {file} > rows.csv", at=4),
    _Kind(b"\xfd7zXZ", "compressed with xz", "xz -dc {file} > rows.csv"),
    _Kind(b"\x04\x22\x4d\x18", "compressed with lz4", "lz4 -dc {file} > rows.csv"),
    _Kind(b"\x1f\x8b", "compressed twice", "gzip -dc {file} > rows.csv.gz"),
    _Kind(b"7z\xbc\xaf", "a 7-Zip archive", "7z e -so {file} > rows.csv"),
    _Kind(b"Rar!\x1a", "a RAR archive", "unrar p -inul {file} > rows.csv"),
    _Kind(b"ustar\0", "a tar archive", "tar -xOf {file} > rows.csv", at=257),
    _Kind(b"ustar  \0", "a tar archive", "tar -xOf {file} > rows.csv", at=257),
    _Kind(b"SQLite format 3\0", "a SQLite database", "sqlite3 -csv -header {file} 'SELECT ...'"),
    _Kind(b"PGDMP\x01", "a dump of pg_dump", "pg_restore --data-only --dbname=DATABASE_URL {file}"),
    _Kind(b"PAR1", "a Parquet file", "give --format parquet"),
    _Kind(b"ARROW1\0", "an Arrow file", "convert it to Parquet, and give --format parquet"),
    _Kind(b"Obj\x01", "an Avro file", "convert it to Parquet, and give --format parquet"),
    _Kind(b"%PDF-", "a PDF document", "get the rows as csv from their source"),
    _Kind(b"\xff\xfe\0\0", "UTF-32", "iconv -f UTF-32 -t UTF-8 {file} > utf8.csv"),
)
_MARKUP = (
    _Kind(b"<!doctype html", "a web page", "check the address that it was downloaded from"),
    _Kind(b"<html", "a web page", "check the address that it was downloaded from"),
    _Kind(b"<?xml", "XML", "get the rows as csv or JSON from their source"),
)
_WORKBOOKS = (b"[Content_Types].xml", b"docProps/", b"xl/", b"mimetypeapplication/vnd.oasis")
"""Names of the files that are the first ones in the zip archive of a workbook."""


def refuse_other_kinds(source: Source) -> None:
    """Refuse a file whose first bytes belong to another kind of file.

    Raises:
        DataError: The file is of another kind.
    """
    start = source.stream().read(_START)
    found = _kind_of(start)
    if found is not None:
        path = quote(source.path) if source.path != STDIN else "FILE"
        raise bad_file(source.name, f"is {found.what}", try_=found.advice.format(file=path))


def _kind_of(start: bytes) -> _Kind | None:
    for kind in _KINDS:
        if start.startswith(kind.signature, kind.at):
            is_zip = kind.signature.startswith(b"PK\x03")
            if is_zip and any(name in start for name in _WORKBOOKS):
                return kind._replace(what="a workbook", advice=_SAVE_AS_CSV)
            return kind
    text = start.lstrip().lower()
    return next((kind for kind in _MARKUP if text.startswith(kind.signature)), None)
