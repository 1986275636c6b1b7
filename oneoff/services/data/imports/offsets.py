"""Refuse a time with an offset from UTC in a column without a time zone.

PostgreSQL ignores the offset: `2026-01-31 09:30+05` becomes 09:30, another moment. SQLite's
converter refuses such a value. An offset of zero and Z are accepted by both, and left out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from oneoff.core.errors import DataError
from oneoff.database import sqlstates
from oneoff.services.data.columns import Kind
from oneoff.services.data.imports.errors import MOST_SHOWN, Problem, problem_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oneoff.services.data.columns import Column
    from oneoff.services.data.imports.plan import Plan
    from oneoff.services.data.imports.readers.base import Chunk, Reader
    from oneoff.services.data.imports.source import Source

_WITHOUT_ZONE = (Kind.TIMESTAMP, Kind.TIME, Kind.DATE)
_FRACTION = r"(?:\.\d*)?"
_OFFSET = r"\s?(?!Z\b|[+-]00(?::?00)?(?![\d:]))[+\-A-Za-z]"
_TIMES = (rf":\d\d{_FRACTION}", rf"T\d{{4}}(?:\d\d)?{_FRACTION}")
# Two patterns, because a search is three times as fast if a pattern starts with one character.
_POSSIBLE = [re.compile(f"{time}{_OFFSET}".encode()) for time in _TIMES]
"""They find bytes that may be a time with an offset. Most files contain none."""
_LONGEST = 32
"""More bytes than a time with an offset has."""
_AFTER_TIME = re.compile(rf"(?:{'|'.join(_TIMES)})((?:\s*(?:[+-]\d[\d:]*|[A-Za-z][A-Za-z_/]*))+)")
_WORD = re.compile(r"[+-]\d[\d:]*|[A-Za-z][A-Za-z_/]*")
_ALLOWED = frozenset({"z", "zulu", "utc", "gmt", "am", "pm", "ad", "bc"})


def refuse_offsets(plan: Plan, reader: Reader) -> None:
    """Refuse a csv or JSON file with an offset in a column of PostgreSQL without a time zone.

    Raises:
        DataError: The file has such values; the error names the first ones.
    """
    columns = [
        (at, column)
        for at, column in enumerate(plan.columns)
        if column is not None and column.kind in _WITHOUT_ZONE
    ]
    if plan.table.dialect != "postgresql" or not columns or not _is_possible(reader.source):
        return
    problems: list[Problem] = []
    for chunk in reader.chunks():
        problems += _problems(chunk, reader, plan, columns)
        if len(problems) >= MOST_SHOWN:
            break
    if problems:
        shown = problems[:MOST_SHOWN]
        raise DataError(
            f"{reader.source.name}, {shown[0].text}",
            why="; ".join(["nothing was imported", *(problem.text for problem in shown[1:])]),
            try_=(
                "write the times in the time zone of the column, without an offset",
                "or give the column a time zone: DateTime(timezone=True)",
            ),
            code="bad-rows",
            data=[problem.facts() for problem in shown],
        )


def _is_possible(source: Source) -> bool:
    end = b""
    for block in source.read_blocks():
        text = end + block
        # A match near the end of a block may be the start of an offset of zero.
        if 0 <= _first_end(text) < len(text) - _LONGEST:
            return True
        end = text[-2 * _LONGEST :]
    return _first_end(end) >= 0


def _first_end(text: bytes) -> int:
    """Return the end of the first time that may have an offset, or -1."""
    found = [match.end() for pattern in _POSSIBLE if (match := pattern.search(text))]
    return min(found, default=-1)


def _problems(
    chunk: Chunk, reader: Reader, plan: Plan, columns: list[tuple[int, Column]]
) -> Iterator[Problem]:
    found = [index for index, raw in enumerate(chunk.raw_rows) if _first_end(raw) >= 0]
    if not found:
        return
    rows = [chunk.raw_row(index) for index in found]
    some = chunk._replace(
        raw_rows=[row.raw for row in rows], lines=[row.line for row in rows], line=rows[0].line
    )
    parsed = reader.parse(some, plan)
    for position, index in enumerate(parsed.indexes):
        for at, column in columns:
            cell = parsed.columns[at][position]
            if cell is not None and _has_offset(cell):
                problem = problem_of(
                    sqlstates.INVALID_DATETIME_FORMAT, [column], [cell], line=rows[index].line
                )
                yield problem._replace(what=f"{problem.what}: it has an offset or a time zone")


def _has_offset(text: str) -> bool:
    after = _AFTER_TIME.search(text)
    words = _WORD.findall(after[1]) if after else []
    return any(word.lower() not in _ALLOWED and word.strip("+-0:") for word in words)
