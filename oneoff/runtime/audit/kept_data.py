"""Decide what of a result's data is kept with the record of its run.

It is kept in the `closed` event, so the chain of events covers it. Only runs that may write keep
their data: the data of the others is rows that the operator has read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from oneoff.core.policy import Access
from oneoff.core.project import PII, load_object
from oneoff.utils.secret_names import MASK
from oneoff.utils.text import counted, for_json

if TYPE_CHECKING:
    from oneoff.core.outcome import Call, Outcome
    from oneoff.core.project import Project
    from oneoff.utils.redaction import Redactor

MOST_BYTES = 64 * 1024
"""The largest size of the data in an event, as JSON."""
MOST_ROWS = 100
"""The largest number of rows that are kept of a list."""


def data_to_keep(
    call: Call, outcome: Outcome, project: Project, redactor: Redactor
) -> dict[str, Any]:
    """Return the facts `data` and, if not all of it is kept, `data_cut` for the event of a run.

    Secrets are masked, and the values of keys that have the name of a column with personal data.
    """
    data = outcome.result.data if outcome.result else None
    if not data or call.command.access is Access.READ or call.command.only_reads():
        return {}
    try:
        rows = len(data) if isinstance(data, list | tuple) else 0
        plain = json.loads(json.dumps(data[:MOST_ROWS] if rows else data, default=for_json))
        personal = _personal_names(project) if not isinstance(plain, str) else frozenset[str]()
        kept, cut = _cut(redactor.data(_masked(plain, personal)), rows)
    except Exception as exc:  # noqa: BLE001 - the work must not be rolled back because of this
        return {"data_cut": f"nothing was kept: {type(exc).__name__}"}
    return {"data": kept} | ({"data_cut": cut} if cut else {})


def _personal_names(project: Project) -> frozenset[str]:
    found: Any = load_object(project.metadata) if project.metadata else None
    each = found if isinstance(found, Sequence) else [found] if found is not None else []
    columns = [column for one in each for table in one.tables.values() for column in table.columns]
    marked = {column.name.lower() for column in columns if column.info.get(PII)}
    return frozenset(marked | {name.rpartition(".")[2] for name in project.pii})


def _masked(value: Any, personal: frozenset[str]) -> Any:
    """Return the data without personal data, and with the names of numbers that JSON lacks."""
    if isinstance(value, Mapping):
        return {
            key: MASK if item and key.lower() in personal else _masked(item, personal)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_masked(item, personal) for item in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def _cut(data: Any, rows: int) -> tuple[Any, str]:
    """Return the beginning of the data that fits, and which part that is; empty if it is all.

    Args:
        data: A list, a mapping, a text, or a number.
        rows: The number of rows of the whole list.
    """
    if isinstance(data, list):
        kept = list(_fitting(data))
        return kept, f"{len(kept)} of {counted(rows, 'row')}" if len(kept) < rows else ""
    if isinstance(data, Mapping):
        values = dict(_fitting(data.items()))
        return values, f"{len(values)} of {counted(len(data), 'value')}" if values != data else ""
    encoded = data.encode() if isinstance(data, str) else b""
    if len(encoded) <= MOST_BYTES:
        return data, ""
    # A character may have several bytes. A part of one is dropped.
    text = encoded[:MOST_BYTES].decode(errors="ignore")
    return text, f"{len(text):,} of {counted(len(data), 'character')}"


def _fitting(items: Iterable[Any]) -> Iterator[Any]:
    """Yield the first items whose JSON has together at most `MOST_BYTES`."""
    room = MOST_BYTES
    for item in items:
        room -= len(json.dumps(item, ensure_ascii=False).encode()) + 1
        if room < 0:
            return
        yield item
