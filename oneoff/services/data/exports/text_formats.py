"""What stands around the rows of a file: the brackets of JSON, the statements of SQL."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from oneoff.services.data.columns import writable
from oneoff.services.data.tables import quote

if TYPE_CHECKING:
    from oneoff.services.data.exports.query import Selection
    from oneoff.services.data.files import Format

ROWS_A_STATEMENT = 500
"""Rows of one INSERT: a hundred times fewer statements, each still of a readable length."""

QUOTE, DELIMITER = "\x01", "\x02"
"""What COPY's csv form is told to quote and separate with, where a row is one ready text: without
quotes or separators it is left as it is, backslashes included (COPY's text form doubles those)."""

_QUOTED = re.compile(rb"\x01(\x01?)")


class Framing:
    """Turns a stream of rows, one a line, into a file. This one adds nothing: csv and jsonl."""

    def begin(self) -> bytes:
        """Return what stands before the first row."""
        return b""

    def feed(self, rows: bytes) -> bytes:
        """Return the rows as they stand in the file; whole lines, at least one."""
        return rows

    def end(self) -> bytes:
        """Return what stands behind the last row."""
        return b""


class JsonArray(Framing):
    """One array, an object a line."""

    def __init__(self) -> None:
        self._begun = False

    def begin(self) -> bytes:
        """Open the array."""
        return b"["

    def feed(self, rows: bytes) -> bytes:
        """Put commas between the objects; inside one there is no line end."""
        comma, self._begun = b",\n" if self._begun else b"\n", True
        return comma + rows.removesuffix(b"\n").replace(b"\n", b",\n")

    def end(self) -> bytes:
        """Close the array."""
        return b"\n]\n" if self._begun else b"]\n"


class SqlStatements(Framing):
    """INSERT statements in one transaction.

    Each row comes with what stands before it: a comma, or the end of the last statement and the
    beginning of the next.
    """

    def __init__(self, selection: Selection) -> None:
        self._dialect, self._name = selection.table.dialect, selection.table.name
        self._begun = False

    def begin(self) -> bytes:
        """Begin a transaction: a file that breaks off loads nothing."""
        name = " ".join(self._name.split())
        encoding = "SET client_encoding = 'UTF8';\n" if self._dialect == "postgresql" else ""
        return f"-- {name}, exported by oneoff\n{encoding}BEGIN;\n".encode()

    def feed(self, rows: bytes) -> bytes:
        """Take away the quotes of COPY, and the end of the statement before the first."""
        rows = self._unquoted(rows)
        if not self._begun:
            self._begun = True
            rows = rows.removeprefix(b";\n")
        return rows

    def end(self) -> bytes:
        """End the last statement and the transaction."""
        return b";\nCOMMIT;\n" if self._begun else b"COMMIT;\n"

    def _unquoted(self, rows: bytes) -> bytes:
        if self._dialect != "postgresql" or b"\x01" not in rows:
            return rows
        if b"\x01\x01" not in rows:
            return rows.replace(b"\x01", b"")
        # A row begins and ends with other signs, so quotes in it come as pairs of their own.
        return _QUOTED.sub(rb"\1", rows)


def framing_of(kind: Format, selection: Selection) -> Framing:
    """Return the framing of a format."""
    if kind == "json":
        return JsonArray()
    return SqlStatements(selection) if kind == "sql" else Framing()


def insert_head(selection: Selection) -> str:
    """Return the beginning of an INSERT of the selection's columns, up to its first row."""
    columns = writable(selection.columns)
    names = ", ".join(quote(column.name) for column in columns)
    always = any(column.identity == "always" for column in columns)
    overriding = " OVERRIDING SYSTEM VALUE" if always else ""
    return f"INSERT INTO {selection.table.quoted} ({names}){overriding} VALUES\n"
