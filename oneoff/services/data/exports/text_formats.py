"""The text formats of an export: each one writes the text before, between and after the rows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from oneoff.services.data.columns import writable
from oneoff.services.data.tables import quote

if TYPE_CHECKING:
    from oneoff.services.data.exports.query import Query
    from oneoff.services.data.files import Format

ROWS_A_STATEMENT = 500
"""Rows of one INSERT statement: a hundred times fewer statements, each still short enough to read.
"""

QUOTE, DELIMITER = "\x01", "\x02"
"""COPY's quote and delimiter where the query returns one text for each row: SQL or JSON.

COPY's text format would double the backslashes of a text. Its csv format leaves a text unchanged,
unless it contains the quote, the delimiter or a line end. A JSON row contains none of these: both
characters are escaped in it, and `row_to_json` writes no line ends. An SQL row may contain them.
COPY then quotes it, and `SqlStatements` removes the quotes.
"""

_QUOTED = re.compile(rb"\x01(\x01?)")


class TextFormat:
    """Turns a stream of rows, one on each line, into a file. csv and jsonl add nothing to them."""

    def header(self) -> bytes:
        """Return the text before the first row."""
        return b""

    def rows(self, lines: bytes) -> bytes:
        """Return rows as the file contains them.

        Args:
            lines: Complete lines, at least one.
        """
        return lines

    def footer(self) -> bytes:
        """Return the text after the last row."""
        return b""


class JsonArray(TextFormat):
    """One JSON array with an object on each line."""

    def __init__(self) -> None:
        self._has_rows = False

    def header(self) -> bytes:
        """Return the start of the array."""
        return b"["

    def rows(self, lines: bytes) -> bytes:
        """Put commas between the objects. An object contains no line end."""
        separator, self._has_rows = b",\n" if self._has_rows else b"\n", True
        return separator + lines.removesuffix(b"\n").replace(b"\n", b",\n")

    def footer(self) -> bytes:
        """Return the end of the array."""
        return b"\n]\n" if self._has_rows else b"]\n"


class SqlStatements(TextFormat):
    """INSERT statements in one transaction.

    Each row arrives with the text before it: a comma, or the end of the last statement and the
    start of the next one.
    """

    def __init__(self, query: Query) -> None:
        self._dialect, self._name = query.table.dialect, query.table.name
        self._has_rows = False

    def header(self) -> bytes:
        """Return the start of a transaction, so that a truncated file loads nothing."""
        name = " ".join(self._name.split())
        encoding = "SET client_encoding = 'UTF8';\n" if self._dialect == "postgresql" else ""
        return f"-- {name}, exported by oneoff\n{encoding}BEGIN;\n".encode()

    def rows(self, lines: bytes) -> bytes:
        """Remove COPY's quotes, and the end of a statement before the first statement."""
        lines = self._unquoted(lines)
        if not self._has_rows:
            self._has_rows = True
            lines = lines.removeprefix(b";\n")
        return lines

    def footer(self) -> bytes:
        """Return the end of the last statement and of the transaction."""
        return b";\nCOMMIT;\n" if self._has_rows else b"COMMIT;\n"

    def _unquoted(self, lines: bytes) -> bytes:
        if self._dialect != "postgresql" or b"\x01" not in lines:
            return lines
        if b"\x01\x01" not in lines:
            return lines.replace(b"\x01", b"")
        # COPY doubles a quote inside a row. The row's own text starts and ends with other
        # characters, so the quote around it is never next to one inside it: each pair is one quote.
        return _QUOTED.sub(rb"\1", lines)


def text_format(name: Format, query: Query) -> TextFormat:
    """Return the text format of this name."""
    if name == "json":
        return JsonArray()
    return SqlStatements(query) if name == "sql" else TextFormat()


def insert_head(query: Query) -> str:
    """Return the start of an INSERT statement, up to its first row."""
    columns = writable(query.columns)
    names = ", ".join(quote(column.name) for column in columns)
    always = any(column.identity == "always" for column in columns)
    overriding = " OVERRIDING SYSTEM VALUE" if always else ""
    return f"INSERT INTO {query.table.quoted} ({names}){overriding} VALUES\n"
