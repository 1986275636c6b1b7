"""`--as`, `--fields` and `--sort`: only the rows of a result, in the form that is asked for."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import pytest

from oneoff.cli.reply import reply
from oneoff.cli.rows import render_rows
from oneoff.core.errors import CommandError, UsageError
from oneoff.core.options import GlobalOptions
from oneoff.core.outcome import Outcome
from oneoff.core.result import Result
from oneoff.testing.manage import MemoryTerminal
from oneoff.utils.redaction import Redactor


class Role(str, Enum):  # noqa: UP042 - applications declare such classes
    """An enum whose `str` is not its value."""

    ADMIN = "admin"


ROWS = [
    {"id": 2, "name": "grace", "age": None},
    {"id": 10, "name": "ada", "age": 36},
    {"id": 1, "name": "linus", "age": 9},
]


def shown(data: Any, *, table: Any = (), width: int = 0, **given: Any) -> str:
    """Return what the options show of data."""
    options = GlobalOptions()
    for name, value in given.items():
        setattr(options, name, value)
    outcome = Outcome(command="user list", result=Result.report(data, table=table))
    return render_rows(outcome, options, Redactor({}), width=width)


def test_csv_is_what_rfc_4180_describes() -> None:
    """Lines end with CRLF; cells with commas, quotes or line ends are quoted."""
    rows = [{"id": 1, "text": 'a "b", c'}, {"id": 2, "text": "one\r\ntwo"}]

    assert 'id,text\r\n1,"a ""b"", c"\r\n2,"one\r\ntwo"\r\n' == shown(rows, as_="csv")


def test_a_cell_of_csv_is_a_value_for_a_program() -> None:
    """Nothing is empty, times have a T, and lists are JSON."""
    moment = datetime(2026, 11, 21, 8, 20, 5, tzinfo=UTC)
    row = {"none": None, "flag": True, "at": moment, "role": Role.ADMIN, "tags": ["a", "b"]}

    (cells,) = list(csv.reader(io.StringIO(shown([row], as_="csv"))))[1:]

    assert ["", "true", "2026-11-21T08:20:05+00:00", "admin", '["a", "b"]'] == cells


def test_a_cell_that_a_spreadsheet_would_run_is_made_harmless() -> None:
    """A number keeps its sign."""
    row = {"text": "=HYPERLINK(1)", "number": -5}

    assert "text,number\r\n'=HYPERLINK(1),-5\r\n" == shown([row], as_="csv")


def test_a_terminal_gets_no_control_characters_in_csv() -> None:
    """They could control it; in a file they are kept."""
    rows = [{"name": "\x1b[2J"}]

    assert "\\x1b[2J" in shown(rows, as_="csv", width=80)
    assert "\x1b[2J" in shown(rows, as_="csv")


def test_json_is_an_array_of_the_rows() -> None:
    """Without the envelope of `--json`, and with the fields in the order that was asked for."""
    rows = json.loads(shown(ROWS, as_="json", fields=("name", "id")))

    assert [["name", "id"]] * 3 == [list(row) for row in rows]
    assert "[]\n" == shown([], as_="json")


@pytest.mark.parametrize(
    ("sort", "ids"),
    [("id", [1, 2, 10]), ("-id", [10, 2, 1]), ("age", [1, 10, 2]), ("-age", [10, 1, 2])],
)
def test_rows_are_sorted_by_value(sort: str, ids: list[int]) -> None:
    """Numbers as numbers; rows without a value are last."""
    assert ids == [row["id"] for row in json.loads(shown(ROWS, as_="json", sort=sort))]


def test_values_of_several_types_are_sorted_as_texts() -> None:
    """They have no other order."""
    rows = json.loads(shown([{"a": "x"}, {"a": 10}, {"a": 2}], as_="json", sort="a"))

    assert [10, 2, "x"] == [row["a"] for row in rows]


def test_a_table_has_its_own_columns_unless_fields_are_given() -> None:
    """The fields are those of the JSON, and also sort a table that does not show them."""
    table = [{"who": row["name"]} for row in ROWS]

    assert "who\nlinus\ngrace\nada\n" == shown(ROWS, table=table, sort="id")
    assert "id\n 2\n10\n 1\n" == shown(ROWS, table=table, fields=("id",))


def test_an_unknown_field_is_an_error_that_names_the_fields() -> None:
    """All wrong names are reported together."""
    with pytest.raises(UsageError) as caught:
        shown(ROWS, fields=("id", "mail"), sort="-size")

    assert (
        "--fields 'mail' is not a field of the result; its fields are id, name, age",
        "--sort 'size' is not a field of the result; its fields are id, name, age",
    ) == caught.value.problems


@pytest.mark.parametrize("data", [None, {"a": 1}, ["a"], "text"])
def test_a_result_without_rows_is_an_error(data: Any) -> None:
    """The options would have no effect."""
    with pytest.raises(UsageError, match="the result of user list has no rows"):
        shown(data, as_="csv")


def test_secrets_are_masked_in_rows() -> None:
    """As in all output; the order does not tell them either."""
    rows = [{"n": 1, "password": "zz"}, {"n": 2, "password": "aa"}]

    assert "n,password\r\n1,***\r\n2,***\r\n" == shown(rows, as_="csv", sort="password")


def test_only_rows_go_to_standard_output() -> None:
    """The message goes to standard error."""
    terminal, options = MemoryTerminal(), GlobalOptions()
    options.as_ = "csv"
    result = Result.report([{"id": 1}], "1 of 1 user")

    code = reply(Outcome(command="user list", result=result), options, terminal, Redactor({}))

    assert (0, "id\r\n1\r\n", "1 of 1 user\n") == (
        code,
        terminal.stdout.getvalue(),
        terminal.stderr.getvalue(),
    )


def test_a_failed_run_shows_its_rows_and_keeps_its_exit_code() -> None:
    """`system health --as csv` reports the service that is down."""
    terminal, options = MemoryTerminal(), GlobalOptions()
    options.as_ = "csv"
    error = CommandError("redis is down", data=[{"service": "redis"}])

    code = reply(Outcome(command="system health", error=error), options, terminal, Redactor({}))

    assert (1, "service\r\nredis\r\n") == (code, terminal.stdout.getvalue())
    assert "redis is down" in terminal.stderr.getvalue()
