"""Compare entire outputs."""

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
    """An enum, which is shown by value."""

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


def test_a_table_has_aligned_columns_and_one_line_per_row() -> None:
    """Numbers are right-aligned, None is a dash, and line breaks are escaped."""
    expected = (
        "id  name           active  seen\n"
        " 7  ada            yes     2026-01-31 09:30:00+00:00\n"
        "12  grace\\nhopper  no      -\n"
    )

    assert expected == render_table(ROWS)


def test_the_widest_column_is_shortened_first() -> None:
    """A shortened text ends with an ellipsis."""
    rows = [{"id": 1, "note": "x" * 50, "seen": ROWS[0]["seen"]}]

    lines = render_table(rows, width=60).splitlines()

    shown = "x" * 28 + "…"
    assert [f"id  {'note'.ljust(29)}  seen", f" 1  {shown}  {ROWS[0]['seen']}"] == lines


def test_the_last_columns_are_hidden_if_the_terminal_is_too_narrow() -> None:
    """Ids and times are never shortened. The last line names the hidden columns."""
    rows = [{"run_id": "r" * 40, "seen": ROWS[0]["seen"], "note": "x"}]

    assert (
        f"run_id\n{'r' * 40}\n(terminal too narrow, hidden: seen, note; use --json)\n"
        == render_table(rows, width=60)
    )


def test_a_narrow_terminal_shows_a_table_row_by_row() -> None:
    """Nothing is hidden or shortened. A table that fits stays a table."""
    rows = [{"name": "ada", "note": "x" * 50}, {"name": "bob", "note": "short"}]

    stacked = f"name  ada\nnote  {'x' * 50}\n\nname  bob\nnote  short\n"
    assert stacked == render_table(rows, width=50)
    assert "name  note\nbob   short\n" == render_table(rows[1:], width=50)


def test_a_short_name_is_never_shortened() -> None:
    """Other commands take it: the prefix of a key, the name of a user."""
    row = {"id": "i" * 24, "prefix": "shop_a1b2c3d4", "owner": "abcdefghijklmnop", "note": "x" * 20}

    shown = render_table([row], width=60).splitlines()

    # With 8 characters of each name, the note would fit too.
    assert f"{'i' * 24}  shop_a1b2c3d4  abcdefghijklmnop" == shown[1]
    assert "hidden: note" in shown[2]


def test_hidden_columns_leave_their_width_to_the_others() -> None:
    """No text is shortened for a column that is then hidden."""
    rows = [{"id": "i" * 30, "name": "n" * 20, "since": ROWS[0]["seen"]}]

    assert f"{'i' * 30}  {'n' * 20}" == render_table(rows, width=60).splitlines()[1]


def test_a_commands_name_keeps_more_than_its_first_word() -> None:
    """Otherwise two commands would look the same. Later columns are hidden first."""
    command = "data transform fill-locale --revert"
    row = {"id": "i" * 24, "command": command, "state": "aaa", "note": "x" * 20}

    shown = f"{'i' * 24}  data transform fill-locale…  aaa"
    assert shown == render_table([row], width=60).splitlines()[1]


def test_a_list_inside_a_mapping_is_a_table_below_it() -> None:
    """It has column names, and one line per row."""
    ranges = [
        {"shard": "b.1/2", "rows": 5, "high": "7"},
        {"shard": "b.2/2", "rows": 60, "high": None},
    ]

    expected = "batch  b\nranges:\n  shard  rows  high\n  b.1/2     5  7\n  b.2/2    60  -\n"
    assert expected == render_data({"batch": "b", "ranges": ranges})


def test_a_source_is_printed_below_its_row() -> None:
    """It keeps its lines."""
    inputs = [{"number": 1, "source": "def two():\n    return 2"}, {"number": 2, "source": "two()"}]

    expected = "id      r1\nstatus  unchanged\ninputs:\n  1\n    def two():\n        return 2\n"
    expected += "  2\n    two()\n"

    assert expected == render_data({"id": "r1", "inputs": inputs, "status": "unchanged"})


def test_a_table_without_a_width_is_not_shortened() -> None:
    """Width 0 is used in a pipe, where a program reads the table."""
    row = {"text": "x" * 500}

    assert f"text\n{'x' * 500}\n" == render_table([row], width=0)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("ada is now admin", "would report: ada is now admin"),
        ("would remove 3 keys", "would remove 3 keys"),
        ("maintenance would be on", "maintenance would be on"),
    ],
)
def test_a_dry_run_never_says_that_something_was_done(message: str, shown: str) -> None:
    """In text, in JSON and in the record. What did not change is said as in a real run."""
    dry = outcome(Result.changed(message, rows=1), dry_run=True)
    same = outcome(Result.unchanged(message), dry_run=True)

    assert shown == dry.message == json.loads(render_json(dry, Redactor()))["message"]
    assert f"\n{shown}\n" in render_text(dry, Redactor())
    assert message == same.message


def test_a_dry_run_is_announced_and_shows_the_row_counts() -> None:
    """It shows the command's message and the database's counts."""
    text = render_text(outcome(Result.changed("ada is admin", rows=1), dry_run=True), Redactor())

    assert (
        "DRY RUN: nothing was changed\n"
        "would report: ada is admin\n"
        "table  inserted  updated  deleted\n"
        "users         0        1        0\n"
    ) == text


def test_a_mapping_with_a_message_is_shown_with_verbose() -> None:
    """Without the flag only the message is shown. JSON always has both."""
    result = Result.changed("ada is admin", data={"role": "admin"})

    assert "ada is admin\n" == render_text(outcome(result), Redactor())
    assert "role  admin\nada is admin\n" == render_text(outcome(result), Redactor(), verbose=1)


def test_quiet_prints_only_the_secret() -> None:
    """A script can use it directly."""
    result = Result.changed("made a key", show_once={"key": "k_123456"})

    assert "k_123456\n" == render_text(outcome(result), Redactor(), quiet=True)
    assert "made a key\nkey: k_123456\n" == render_text(outcome(result), Redactor())


def test_quiet_prints_only_the_answer() -> None:
    """One redacted line replaces facts and message."""
    result = Result.changed("queued it", data={"id": "j1"}, answer="j1 token=hunter2hunter2")

    shown = render_text(outcome(result), Redactor(), quiet=True, verbose=1)

    assert "j1 token=***\n" == shown
    assert "queued it\n" == render_text(outcome(result), Redactor())


def test_a_list_of_texts_is_joined_with_commas() -> None:
    """Other lists are shown as JSON."""
    shown = render_text(outcome(Result.report({"w": ["a", "b"], "none": [], "n": [1]})), Redactor())

    assert "w     a, b\nnone  -\nn     [1]\n" == shown


def test_the_keys_of_the_envelope_have_a_fixed_order() -> None:
    """Scripts rely on the names, people on the order."""
    result = Result.changed("done", rows=1, data={"at": ROWS[0]["seen"], "n": Decimal("1.50")})

    text = render_json(outcome(result), Redactor())

    assert (
        '{"ok": true, "command": "user promote", "run_id": "r1", "dry_run": false, '
        '"changed": true, "rows": 1, '
        '"tables": {"users": {"inserted": 0, "updated": 1, "deleted": 0}}, "message": "done", '
        '"data": {"at": "2026-01-31T09:30:00+00:00", "n": "1.50"}, "warnings": [], '
        '"exit_code": 0}\n'
    ) == text


def test_changed_is_false_in_the_json_of_a_dry_run() -> None:
    """`changed` reports real changes only."""
    envelope = json.loads(render_json(outcome(Result.changed("x"), dry_run=True), Redactor()))

    assert (True, False) == (envelope["dry_run"], envelope["changed"])


def test_an_error_is_in_the_envelope_with_its_data() -> None:
    """The findings of a check are data."""
    error = CheckFailed("1 pending", why="w", try_="t", code="pending", data=[{"rev": "a"}])

    envelope = json.loads(render_json(outcome(error=error), Redactor()))

    assert {"code": "pending", "message": "1 pending", "why": "w", "try": ["t"]} == envelope[
        "error"
    ]
    assert (False, 3, [{"rev": "a"}]) == (envelope["ok"], envelope["exit_code"], envelope["data"])


def test_a_secret_shown_once_is_not_masked() -> None:
    """The same value in a message is masked."""
    redactor = Redactor()
    redactor.add("s3cr3t-value")
    result = Result.changed("key s3cr3t-value", show_once={"key": "s3cr3t-value"})

    envelope = json.loads(render_json(outcome(result), redactor))

    assert ("key ***", {"key": "s3cr3t-value"}) == (envelope["message"], envelope["data"])


def test_an_error_shows_what_happened_why_and_what_to_do() -> None:
    """The layout is always the same."""
    error = CommandError("it broke", why="because", try_=("this", "that"), code="broken")

    assert (
        "error[broken]: it broke\n  why:  because\n  try:  this\n  try:  that\n"
    ) == render_error(error, Redactor())


def test_each_usage_problem_is_shown_on_its_own_line() -> None:
    """All problems are reported at once."""
    text = render_error(UsageError(["a is wrong", "b is wrong"]), Redactor())

    assert "error[usage]: a is wrong\nerror[usage]: b is wrong\n" == text


def test_only_the_first_usage_problems_are_shown() -> None:
    """The last line says how many more there are."""
    text = render_error(UsageError([f"{number} is wrong" for number in range(9_000)]), Redactor())

    assert 21 == len(text.splitlines())
    assert text.endswith("error[usage]: 19 is wrong\nerror[usage]: and 8,980 more problems\n")


def test_a_long_message_is_shortened_after_secrets_were_masked() -> None:
    """In text and in JSON. Half of a secret might not be recognized."""
    url = "postgres://ada:hunter2@db/shop"
    error = CommandError("x" * 3_980 + url + "y" * 9_000, why="z" * 9_000)

    shown = render_error(error, Redactor())
    envelope = json.loads(render_json(outcome(error=error), Redactor()))

    assert "hunter2" not in shown
    assert "... (5,000 more characters)\n" in shown
    assert envelope["message"] == envelope["error"]["message"]
    assert len(envelope["message"]) < 4_100


@pytest.mark.parametrize("value", [Colour.RED, "red"])
def test_enums_are_shown_by_value(value: object) -> None:
    """In tables and in JSON."""
    assert "colour\nred\n" == render_table([{"colour": value}])


def test_control_characters_of_a_message_are_escaped() -> None:
    """They could clear the screen or hide text; line ends and tabs are kept."""
    text = "\x1b[2Jdone\r\x9b\u202e\n\tnext é"
    shown = render_text(outcome(Result.unchanged(text)), Redactor())
    error = render_error(CommandError(text, why=text, try_=text), Redactor())

    assert "\\x1b[2Jdone\\r\\x9b\\u202e\n\tnext é\n" == shown
    assert not {"\x1b", "\r", "\x9b", "\u202e"} & set(error)


def test_numbers_that_json_does_not_have_are_texts() -> None:
    """A parser would refuse the output."""
    data = [{"a": float("nan"), "b": [float("inf"), -float("inf")], "c": 1.5}]
    text = render_json(outcome(Result.report(data)), Redactor())

    assert [{"a": "NaN", "b": ["Infinity", "-Infinity"], "c": 1.5}] == json.loads(text)["data"]
