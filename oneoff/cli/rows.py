"""Show only the rows of a result: `--as`, `--fields` and `--sort`. Pure: nothing here writes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from oneoff.cli.render import render_table, with_numbers_of_json
from oneoff.core.errors import UsageError
from oneoff.services.data.columns import FORMULA_SIGNS
from oneoff.utils.text import for_json, printable

if TYPE_CHECKING:
    from oneoff.core.options import GlobalOptions
    from oneoff.core.outcome import Outcome
    from oneoff.utils.redaction import Redactor

    Rows = Sequence[Mapping[str, Any]]


def render_rows(
    outcome: Outcome, options: GlobalOptions, redactor: Redactor, *, width: int = 0
) -> str:
    """Return the rows of a run in the form, with the fields and in the order of the options.

    The fields are those of the JSON. A table without `--fields` has its own columns, which may be
    fewer.

    Args:
        outcome: The run; its error may have rows too.
        options: `--as`, `--fields` and `--sort`.
        redactor: Masks what must not be shown.
        width: Columns of the terminal; 0 if standard output is none.

    Raises:
        UsageError: The result has no rows, or its rows don't have a field.
    """
    data, table = map(redactor.data, _data_of(outcome))  # a masked value has no place in an order
    if not _are_rows(data) and table:
        data = table
    if not _are_rows(data):
        name = outcome.command
        raise UsageError(
            f"the result of {name} has no rows, so --as, --fields and --sort have no effect",
            try_=f"python manage.py {name} --json",
        )
    names = list(dict.fromkeys(str(name) for row in data for name in row))
    wanted = options.fields or names
    _check(wanted, options.sort.removeprefix("-"), names)
    order = _order(data, options.sort)
    rows = [{name: data[at].get(name) for name in wanted} for at in order]
    if options.as_ == "csv":
        return _csv(rows, wanted, on_terminal=bool(width))
    if options.as_ == "json":
        return _json(rows)
    if not options.fields and _are_rows(table) and len(table) == len(data):
        rows = [dict(table[at]) for at in order]
    return render_table(rows, width=width) if rows else ""


def _data_of(outcome: Outcome) -> tuple[Any, Any]:
    """Return the data of a result or an error, and what a table shows of it."""
    if outcome.error:
        return outcome.error.data, outcome.error.table
    return (outcome.result.data, outcome.result.table) if outcome.result else (None, None)


def _are_rows(data: Any) -> bool:
    return isinstance(data, list | tuple) and all(isinstance(row, Mapping) for row in data)


def _check(fields: Sequence[str], sort: str, names: Sequence[str]) -> None:
    """Refuse a field that the rows don't have. Without rows, nothing is known about fields."""
    given = [("--fields", name) for name in fields] + [("--sort", sort)] * bool(sort)
    problems = [
        f"{option} {name!r} is not a field of the result; its fields are {', '.join(names)}"
        for option, name in given
        if names and name not in names
    ]
    if problems:
        raise UsageError(problems)


def _order(rows: Rows, sort: str) -> Sequence[int]:
    """Return the positions of the rows in order. Rows without a value are last, either way."""
    name, falling = sort.removeprefix("-"), sort.startswith("-")
    if not name:
        return range(len(rows))
    present = [at for at, row in enumerate(rows) if row.get(name) is not None]
    missing = [at for at, row in enumerate(rows) if row.get(name) is None]
    try:
        present.sort(key=lambda at: rows[at][name], reverse=falling)
    except TypeError:  # values of several types, or of one that has no order
        present.sort(key=lambda at: str(rows[at][name]), reverse=falling)
    return present + missing


def _csv(rows: Rows, fields: Sequence[str], *, on_terminal: bool) -> str:
    """Return the rows as RFC 4180 wants them: CRLF, and quotes where they are needed."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    shown = printable if on_terminal else str
    if fields:
        writer.writerow([shown(_safe(name)) for name in fields])
    writer.writerows([shown(_csv_cell(row[name])) for name in fields] for row in rows)
    return stream.getvalue()


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return _safe(str.__str__(value))  # the value of an enum, not its name
    if isinstance(value, bool | Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=for_json)
    return str(value) if isinstance(value, int | float) else str(for_json(value))


def _safe(text: str) -> str:
    """Put ' before a text that a spreadsheet would run as a formula, as `--excel-safe` does."""
    return f"'{text}" if text.startswith(tuple(FORMULA_SIGNS)) else text


def _json(rows: Rows) -> str:
    """Return an array with one row on each line."""
    lines = (
        json.dumps(with_numbers_of_json(row), ensure_ascii=False, default=for_json, allow_nan=False)
        for row in rows
    )
    return "[" + ",".join(f"\n{line}" for line in lines) + ("\n]\n" if rows else "]\n")
