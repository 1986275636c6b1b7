"""What an operator sees, whole."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum

import pytest

from oneoff.cli.render import render_data, render_error, render_json, render_table, render_text
from oneoff.core.errors import CheckFailed, CommandError, UsageError
from oneoff.core.outcome import Outcome, RowCounts
from oneoff.core.result import Result
from oneoff.utils.redaction import Redactor


class Colour(Enum):
    """A thing with a value."""

    RED = "red"


ROWS = [
    {"id": 7, "name": "ada", "active": True, "seen": datetime(2026, 1, 31, 9, 30, tzinfo=UTC)},
    {"id": 12, "name": "grace\nhopper", "active": False, "seen": None},
]


def outcome(
    result: Result | None = None, *, error: CommandError | None = None, dry_run: bool = False
) -> Outcome:
    """Return how a run of `user promote` ended."""
    return Outcome(
        command="user promote",
        run_id="r1",
        dry_run=dry_run,
        result=result,
        error=error,
        tables={"users": RowCounts(updated=1)} if result and result.did_change else {},
    )


def test_a_table_has_aligned_columns_and_one_line_a_row() -> None:
    """Numbers to the right, nothing as a dash, line breaks made visible."""
    expected = (
        "id  name           active  seen\n"
        " 7  ada            yes     2026-01-31 09:30:00+00:00\n"
        "12  grace\\nhopper  no      -\n"
    )

    assert expected == render_table(ROWS)


def test_a_table_fits_the_terminal() -> None:
    """The widest column gives way first, and says so with an ellipsis."""
    rows = [{"id": 1, "note": "x" * 50, "seen": ROWS[0]["seen"]}]

    lines = render_table(rows, width=40).splitlines()

    assert ["id  note       seen", f" 1  xxxxxxxx…  {ROWS[0]['seen']}"] == lines


def test_columns_that_do_not_fit_are_left_out_from_the_right() -> None:
    """Half an id or half a time would be of no use; which are left out is said."""
    rows = [{"run_id": "r" * 20, "seen": ROWS[0]["seen"], "note": "x"}]

    assert (f"run_id\n{'r' * 20}\n(not shown for want of room: seen, note)\n") == render_table(
        rows, width=40
    )


def test_what_left_out_columns_free_is_used() -> None:
    """No text is cut for a column that is not there in the end."""
    rows = [{"id": 1, "name": "n" * 20, "since": ROWS[0]["seen"]}]

    assert f" 1  {'n' * 20}" == render_table(rows, width=30).splitlines()[1]


def test_a_command_keeps_more_than_its_first_word() -> None:
    """Else two of them would look the same; columns behind it go first."""
    row = {"id": 1, "command": "data transform fill-locale --revert", "state": "a", "note": "x"}

    assert " 1  data transform fill-local…  a" == render_table([row], width=37).splitlines()[1]


def test_a_list_inside_a_mapping_is_a_table_below_it() -> None:
    """With its columns' names, and one line a row."""
    ranges = [
        {"shard": "b.1/2", "rows": 5, "high": "7"},
        {"shard": "b.2/2", "rows": 60, "high": None},
    ]

    expected = "batch  b\nranges:\n  shard  rows  high\n  b.1/2     5  7\n  b.2/2    60  -\n"
    assert expected == render_data({"batch": "b", "ranges": ranges})


def test_sources_inside_a_mapping_follow_below_it() -> None:
    """Each as it was written, line by line."""
    inputs = [{"number": 1, "source": "def two():\n    return 2"}, {"number": 2, "source": "two()"}]

    expected = "id      r1\nstatus  unchanged\ninputs:\n  1\n    def two():\n        return 2\n"
    expected += "  2\n    two()\n"

    assert expected == render_data({"id": "r1", "inputs": inputs, "status": "unchanged"})


def test_a_table_is_not_cut_when_it_goes_into_a_pipe() -> None:
    """Width 0 means that a program reads it."""
    row = {"text": "x" * 500}

    assert f"text\n{'x' * 500}\n" == render_table([row], width=0)


def test_a_dry_run_says_so_and_counts_the_rows() -> None:
    """Both the command's message and what the database counted."""
    text = render_text(outcome(Result.changed("ada is admin", rows=1), dry_run=True), Redactor())

    assert (
        "DRY RUN: nothing was changed\n"
        "ada is admin\n"
        "table  inserted  updated  deleted\n"
        "users         0        1        0\n"
    ) == text


def test_a_mapping_behind_a_message_is_shown_with_verbose() -> None:
    """The message sums it up; facts are one flag away, and always in JSON."""
    result = Result.changed("ada is admin", data={"role": "admin"})

    assert "ada is admin\n" == render_text(outcome(result), Redactor())
    assert "role  admin\nada is admin\n" == render_text(outcome(result), Redactor(), verbose=1)


def test_quiet_prints_a_secret_alone() -> None:
    """So that a script can take it as it is."""
    result = Result.changed("made a key", show_once={"key": "k_123456"})

    assert "k_123456\n" == render_text(outcome(result), Redactor(), quiet=True)
    assert "made a key\nkey: k_123456\n" == render_text(outcome(result), Redactor())


def test_quiet_prints_the_answer_alone() -> None:
    """One line for a script, in place of facts and message; redacted as they are."""
    result = Result.changed("queued it", data={"id": "j1"}, answer="j1 token=hunter2hunter2")

    shown = render_text(outcome(result), Redactor(), quiet=True, verbose=1)

    assert "j1 token=***\n" == shown
    assert "queued it\n" == render_text(outcome(result), Redactor())


def test_a_list_of_words_is_read_as_words() -> None:
    """Not as JSON; of other things it is."""
    shown = render_text(outcome(Result.report({"w": ["a", "b"], "none": [], "n": [1]})), Redactor())

    assert "w     a, b\nnone  -\nn     [1]\n" == shown


def test_the_envelope_has_its_keys_in_order() -> None:
    """Scripts may rely on names; people on the order."""
    result = Result.changed("done", rows=1, data={"at": ROWS[0]["seen"], "n": Decimal("1.50")})

    text = render_json(outcome(result), Redactor())

    assert (
        '{"ok": true, "command": "user promote", "run_id": "r1", "dry_run": false, '
        '"changed": true, "rows": 1, '
        '"tables": {"users": {"inserted": 0, "updated": 1, "deleted": 0}}, "message": "done", '
        '"data": {"at": "2026-01-31T09:30:00+00:00", "n": "1.50"}, "warnings": [], '
        '"exit_code": 0}\n'
    ) == text


def test_a_dry_run_has_changed_nothing_in_json() -> None:
    """`changed` is about the world, not about the preview."""
    envelope = json.loads(render_json(outcome(Result.changed("x"), dry_run=True), Redactor()))

    assert (True, False) == (envelope["dry_run"], envelope["changed"])


def test_an_error_is_in_the_envelope_with_its_data() -> None:
    """What a check found is data."""
    error = CheckFailed("1 pending", why="w", try_="t", code="pending", data=[{"rev": "a"}])

    envelope = json.loads(render_json(outcome(error=error), Redactor()))

    assert {"code": "pending", "message": "1 pending", "why": "w", "try": ["t"]} == envelope[
        "error"
    ]
    assert (False, 3, [{"rev": "a"}]) == (envelope["ok"], envelope["exit_code"], envelope["data"])


def test_a_secret_shown_once_survives_redaction_of_everything_else() -> None:
    """It is what was asked for; the same value in a message is masked."""
    redactor = Redactor()
    redactor.add("s3cr3t-value")
    result = Result.changed("key s3cr3t-value", show_once={"key": "s3cr3t-value"})

    envelope = json.loads(render_json(outcome(result), redactor))

    assert ("key ***", {"key": "s3cr3t-value"}) == (envelope["message"], envelope["data"])


def test_an_error_says_what_why_and_what_next() -> None:
    """In this layout, which people learn to scan."""
    error = CommandError("it broke", why="because", try_=("this", "that"), code="broken")

    assert (
        "error[broken]: it broke\n  why:  because\n  try:  this\n  try:  that\n"
    ) == render_error(error, Redactor())


def test_all_usage_problems_are_shown_together() -> None:
    """One line each."""
    text = render_error(UsageError(["a is wrong", "b is wrong"]), Redactor())

    assert "error[usage]: a is wrong\nerror[usage]: b is wrong\n" == text


@pytest.mark.parametrize("value", [Colour.RED, "red"])
def test_enums_are_shown_by_value(value: object) -> None:
    """In tables as in JSON."""
    assert "colour\nred\n" == render_table([{"colour": value}])
