"""Read the messages that a client of PostgreSQL sends."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

STARTS = {80877103: "SSLRequest", 80877104: "GSSENCRequest", 80877102: "CancelRequest"}
NAMES = {
    b"Q": "Query",
    b"P": "Parse",
    b"B": "Bind",
    b"D": "Describe",
    b"E": "Execute",
    b"C": "Close",
    b"S": "Sync",
    b"H": "Flush",
    b"X": "Terminate",
    b"p": "Password",
    b"d": "CopyData",
    b"c": "CopyDone",
    b"f": "CopyFail",
    b"F": "FunctionCall",
}


@dataclass(frozen=True)
class Message:
    """A message: its name in PostgreSQL's documentation, and its statement, if it has one."""

    name: str
    sql: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.sql}".rstrip()


class Reader:
    """Reads what the client of one connection sends, in pieces of any size.

    Attributes:
        encrypted: Whether the server has agreed to TLS, so that nothing more can be read.
    """

    def __init__(self) -> None:
        self._bytes = b""
        self.encrypted = self._started = self._asked = False
        self._statements: dict[str, str] = {}

    def read(self, chunk: bytes) -> list[Message]:
        """Return the messages that end in the next piece; none once they are encrypted."""
        if self.encrypted:
            return []
        self._bytes += chunk
        return list(self._messages())

    def answer(self, chunk: bytes) -> None:
        """Note the server's answer: after the answer `S` to an SSLRequest all is encrypted."""
        self.encrypted = self.encrypted or (self._asked and chunk == b"S")
        self._asked = False

    def _messages(self) -> Iterator[Message]:
        while True:
            head = 1 if self._started else 0  # the first messages have no type
            if len(self._bytes) < head + 4:
                return
            (size,) = struct.unpack_from("!i", self._bytes, head)
            if len(self._bytes) < head + size:
                return
            kind, body = self._bytes[:head], self._bytes[head + 4 : head + size]
            self._bytes = self._bytes[head + size :]
            yield self._message(kind, body) if head else self._start(body)

    def _start(self, body: bytes) -> Message:
        (code,) = struct.unpack_from("!i", body)
        name = STARTS.get(code, "Startup")
        self._started = name == "Startup"
        self._asked = name == "SSLRequest"
        return Message(name)

    def _message(self, kind: bytes, body: bytes) -> Message:
        texts = [text.decode(errors="replace") for text in body.split(b"\0", 2)]
        sql = ""
        if kind == b"Q":
            sql = _line(texts[0])
        elif kind == b"P":
            sql = self._statements[texts[0]] = _line(texts[1])
        elif kind == b"B":
            sql = self._statements.get(texts[1], texts[1])
        elif kind == b"C":
            sql = self._statements.get(texts[0][1:], texts[0][1:])
        return Message(NAMES.get(kind, kind.decode(errors="replace")), sql)


def _line(sql: str) -> str:
    return " ".join(sql.split())
