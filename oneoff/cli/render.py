"""Render an outcome as text or as one JSON object. Pure: nothing here writes to a stream."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import CommandError, Declined, UsageError
from oneoff.core.outcome import Outcome, RowCounts
from oneoff.utils.text import bounded, cell, counted, for_json, plain, printable

if TYPE_CHECKING:
    from oneoff.utils.redaction import Redactor

_MOST_PROBLEMS = 20
"""The largest number of problems of a command line that are shown."""
GAP = "  "
SHORTEST = 8
"""The minimum width of a shortened column, in characters."""
NARROWEST_TABLE = 60
"""Columns of a terminal below which a table that does not fit is shown row by row."""
LONGEST_NAME = 16
"""Characters of a text that is never shortened if it is one word: a name to copy."""
SHORTEST_COMMAND = 26
"""The same for the column `command`: the names of a group start with the same word."""


def render_json(outcome: Outcome, redactor: Redactor) -> str:
    """Return the envelope: one object, keys always in this order, and a newline."""
    result, error = outcome.result, outcome.error
    envelope: dict[str, Any] = {"ok": error is None}
    if error:
        envelope["error"] = _error_object(error, redactor)
    data = error.data if error else result.data if result else None
    envelope |= {
        "command": outcome.command,
        "run_id": outcome.run_id,
        "dry_run": outcome.dry_run,
        "changed": bool(result and result.did_change and not outcome.dry_run),
        "rows": outcome.rows,
        "tables": {name: counts._asdict() for name, counts in sorted(outcome.tables.items())},
        "message": _shown(outcome.message, redactor) if error else redactor.text(outcome.message),
        "data": redactor.data(data),
        "warnings": list(map(bounded, redactor.lines(outcome.warnings))),
        "exit_code": int(outcome.exit_code),
    }
    if shown := _shown_once(outcome):
        # Added after redaction: the operator asked for these secrets, and sees them only now.
        envelope["data"] = {**_as_mapping(envelope["data"]), **shown}
    try:
        text = json.dumps(envelope, ensure_ascii=False, default=for_json, allow_nan=False)
    except ValueError:
        text = json.dumps(with_numbers_of_json(envelope), ensure_ascii=False, default=for_json)
    return text + "\n"


def with_numbers_of_json(value: Any) -> Any:
    """Replace NaN and infinite numbers, which JSON does not have, by their names."""
    if isinstance(value, float) and not isfinite(value):
        return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: with_numbers_of_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [with_numbers_of_json(item) for item in value]
    return value


def render_text(
    outcome: Outcome, redactor: Redactor, *, width: int = 0, quiet: bool = False, verbose: int = 0
) -> str:
    """Return what standard output shows of a run.

    Args:
        outcome: The run.
        redactor: Masks what must not be shown.
        width: Columns of the terminal; 0 for no limit.
        quiet: Show the result's answer, else data only, and secrets without their names.
        verbose: Above 0, also show a mapping of facts that the message summarizes.
    """
    result, error = outcome.result, outcome.error
    if quiet and result and result.answer:
        return printable(redactor.text(result.answer)) + "\n"
    parts = []
    if outcome.dry_run and not quiet and error is None:
        parts.append("DRY RUN: nothing was changed\n")
    data = error.table if error else (result.table or result.data) if result else None
    if data and (verbose or not outcome.message or not isinstance(data, Mapping)):
        # Redact each value separately, before it is shortened. In one joined text, an open quote
        # in one row would make the redactor mask the wrong half of the next.
        parts.append(render_data(redactor.data(data), width=width))
    if result and outcome.message and not quiet:
        parts.append(printable(redactor.text(outcome.message)) + "\n")
    if outcome.dry_run and outcome.tables and not quiet:
        parts.append(_render_tables(outcome.tables))
    parts += [
        f"{value}\n" if quiet else f"{name}: {value}\n"
        for name, value in _shown_once(outcome).items()
    ]
    return "".join(parts)


def render_error(error: CommandError, redactor: Redactor, *, color: bool = False) -> str:
    """Return an error as text: what happened, why, and what to do next."""
    if isinstance(error, Declined):
        return printable(redactor.text(error.message)) + "\n"
    label = f"error[{error.code}]:"  # not user input, so never masked
    if color:
        label = f"\x1b[1;31m{label}\x1b[0m"
    problems = error.problems if isinstance(error, UsageError) else (error.message,)
    lines = [
        f"{label} {printable(_shown(problem, redactor))}" for problem in problems[:_MOST_PROBLEMS]
    ]
    if len(problems) > _MOST_PROBLEMS:
        lines.append(f"{label} and {counted(len(problems) - _MOST_PROBLEMS, 'more problem')}")
    if error.why:
        lines.append(f"  why:  {printable(_shown(error.why, redactor))}")
    lines += [f"  try:  {printable(redactor.text(line))}" for line in error.try_]
    return "\n".join(lines) + "\n"


def render_warning(text: str, redactor: Redactor, *, color: bool = False) -> str:
    """Return a warning as one line."""
    label = "\x1b[1;33mwarning:\x1b[0m" if color else "warning:"
    return f"{label} {printable(_shown(text, redactor))}\n"


def render_data(data: Any, *, width: int = 0) -> str:
    """Return a list of mappings as a table, a mapping as names and values, a text as it is."""
    if isinstance(data, str):
        return data if data.endswith("\n") else data + "\n"
    if isinstance(data, Mapping):
        return _render_facts(data)
    if _is_table(data):
        return render_table(data, width=width)
    return "".join(f"{cell(item)}\n" for item in data)


def render_table(rows: Sequence[Mapping[str, Any]], *, width: int = 0) -> str:
    """Return rows under their column names. Numbers are aligned to the right.

    Args:
        rows: Mappings with the same keys; the first one's order is the columns' order.
        width: Columns of the terminal; 0 for no limit. Long texts are shortened and the last
            columns are left out until the table fits. The first column, ids, times and short names
            are never shortened, because a part of one is useless.
    """
    columns = list(rows[0])
    cells = [[cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, texts)) for texts in zip(columns, *cells, strict=True)]
    if 0 < width < min(NARROWEST_TABLE, sum(widths) + len(GAP) * (len(widths) - 1)):
        return "\n".join(_render_facts(dict(zip(columns, line, strict=True))) for line in cells)
    whole = [
        at == 0 or _is_whole(name, rows[0].get(name), [line[at] for line in cells])
        for at, name in enumerate(columns)
    ]
    least = [
        size if keep else min(size, SHORTEST_COMMAND if name == "command" else SHORTEST)
        for name, size, keep in zip(columns, widths, whole, strict=True)
    ]
    widths = _fitted(widths, least, width)
    left_out = columns[len(widths) :]
    columns, cells = columns[: len(widths)], [line[: len(widths)] for line in cells]
    numeric = [all(_is_number(row.get(column)) for row in rows) for column in columns]
    lines = [
        GAP.join(
            _pad(text, size, right=right)
            for text, size, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in [columns, *cells]
    ]
    if left_out:
        lines.append(f"(terminal too narrow, hidden: {', '.join(left_out)}; use --json)")
    return "\n".join(lines) + "\n"


def _render_facts(facts: Mapping[Any, Any]) -> str:
    """Return names and values, and below them those that are lists of facts themselves."""
    nested = {name: value for name, value in facts.items() if _is_table(value)}
    size = max((len(str(name)) for name in facts if name not in nested), default=0)
    lines = [
        f"{str(name).ljust(size)}{GAP}{cell(value)}".rstrip()
        for name, value in facts.items()
        if name not in nested
    ]
    for name, rows in nested.items():
        lines.append(f"{name}:")
        lines += [GAP + line for line in _nested_lines(rows)]
    return "\n".join(lines) + "\n" if lines else ""


def _nested_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a table. If the last column is `source`, print it below its row, line by line."""
    if list(rows[0])[-1] != "source":
        return render_table(rows).splitlines()
    lines = []
    for row in rows:
        *others, source = row.values()
        lines.append(GAP.join(map(cell, others)))
        lines += [GAP + cell(line) for line in str(plain(source)).splitlines()]
    return lines


def _fitted(widths: Sequence[int], least: Sequence[int], width: int) -> list[int]:
    """Return the widths of the columns that fit, each reduced to `least` if necessary."""
    if not width:
        return list(widths)
    count = len(widths)
    while count > 1 and sum(least[:count]) + len(GAP) * (count - 1) > width:
        count -= 1
    fitted, room = list(widths[:count]), width - len(GAP) * (count - 1)
    while sum(fitted) > room:
        free = [at for at, size in enumerate(fitted) if size > least[at]]
        if not free:
            break  # one column, wider than the terminal
        fitted[max(free, key=fitted.__getitem__)] -= 1
    return fitted


def _is_whole(column: str, value: Any, cells: Sequence[str]) -> bool:
    if column == "id" or column.endswith("_id") or hasattr(value, "isoformat"):
        return True
    return all(len(text) <= LONGEST_NAME and " " not in text for text in cells)


def _pad(text: str, size: int, *, right: bool) -> str:
    if len(text) > size:
        text = text[: size - 1] + "…"
    return text.rjust(size) if right else text.ljust(size)


def _render_tables(tables: Mapping[str, RowCounts]) -> str:
    rows = [{"table": name, **counts._asdict()} for name, counts in sorted(tables.items())]
    return render_table(rows)


def _error_object(error: CommandError, redactor: Redactor) -> dict[str, Any]:
    return {
        "code": error.code,
        "message": _shown(error.message, redactor),
        "why": _shown(error.why, redactor),
        "try": redactor.lines(error.try_),
    }


def _shown(text: str, redactor: Redactor) -> str:
    """Return a text for people, with secrets masked, and not longer than a message may be."""
    return bounded(redactor.text(text))


def _shown_once(outcome: Outcome) -> Mapping[str, str]:
    """Return the secrets to show. A dry run shows none, because it did not store them."""
    return outcome.result.show_once if outcome.result and not outcome.dry_run else {}


def _as_mapping(data: Any) -> dict[str, Any]:
    return dict(data) if isinstance(data, Mapping) else {} if data is None else {"value": data}


def _is_table(data: Any) -> bool:
    return isinstance(data, list | tuple) and bool(data) and isinstance(data[0], Mapping)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
