"""Each line of the log has the same format, with or without structlog."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from oneoff.config.operator_identity import identify
from oneoff.core.outcome import Outcome
from oneoff.core.result import Result
from oneoff.core.run import Run
from oneoff.runtime.logs.loggers import Logs
from oneoff.runtime.terminal import Terminal
from oneoff.utils.redaction import Redactor


class Money:
    """A value that tells structlog how to write it."""

    def __structlog__(self) -> dict[str, int]:
        return {"cents": 250}


def a_run(*, dry_run: bool = False) -> Run:
    """Return the facts of a run."""
    return Run(
        id="r-1",
        command="user list",
        dry_run=dry_run,
        operator=identify({"OPERATOR": "ada"}),
        environment="test",
        reason="",
        ticket="",
        started_at=datetime.now(UTC),
    )


def logs() -> tuple[Logs, io.StringIO]:
    """Return logs and the stream that they write to."""
    stream = io.StringIO()
    return Logs(Terminal(None, None, stream, {}), Redactor({"API_KEY": "k-0123456789"}), "info"), (
        stream
    )


def written(stream: io.StringIO) -> list[list[tuple[str, Any]]]:
    """Return the fields of each line in their order; of the time only its length."""
    pairs = json.JSONDecoder(object_pairs_hook=list)
    return [
        [(key, len(value) if key == "timestamp" else value) for key, value in pairs.decode(line)]
        for line in stream.getvalue().splitlines()
    ]


def test_a_line_is_the_same_with_and_without_structlog() -> None:
    """The line that reports the end of a run does not import structlog."""
    made, stream = logs()

    made.logger(a_run(dry_run=True)).error("run.failed", rows=2, key="k-0123456789", name="Adé")
    fields = {"rows": 2, "key": "k-0123456789", "name": "Adé", "event": "run.failed"}
    made.relay("error", {"run_id": "r-1", "command": "user list", "dry_run": True, **fields})

    first, second = written(stream)
    assert first == second
    assert [
        ("run_id", "r-1"),
        ("command", "user list"),
        ("dry_run", True),
        ("rows", 2),
        ("key", "***"),
        ("name", "Adé"),
        ("event", "run.failed"),
        ("level", "error"),
        ("timestamp", len("2026-01-31T09:30:00.000000Z")),
    ] == first


def test_values_that_are_not_json_are_written_as_structlog_writes_them() -> None:
    """As their class declares it for structlog, or as their repr."""
    made, stream = logs()

    made.logger(a_run()).info("paid", price=Money(), part=1 + 2j)

    (line,) = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert ({"cents": 250}, "(1+2j)") == (line["price"], line["part"])


def test_an_exception_is_written_as_text() -> None:
    """Its last line names the error."""
    made, stream = logs()

    try:
        raise ValueError("no such user")
    except ValueError:
        made.logger(a_run()).exception("failed")

    (line,) = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert "ValueError: no such user" == line["exception"].splitlines()[-1]
    assert ("error", False) == (line["level"], "exc_info" in line)


def test_the_line_at_the_end_has_what_the_application_bound_in_its_context() -> None:
    """`structlog.contextvars` is the place for fields of all lines."""
    made, stream = logs()
    structlog.contextvars.bind_contextvars(tenant="acme")
    try:
        made.relay("info", {"event": "run.succeeded"})
    finally:
        structlog.contextvars.clear_contextvars()

    assert "acme" == dict(written(stream)[0])["tenant"]


@pytest.mark.parametrize(
    ("form", "environ", "watched", "expected"),
    [
        ("auto", {}, False, "json"),
        ("auto", {"CI": "true"}, False, "text"),
        ("auto", {"CI": "false"}, False, "json"),
        ("text", {}, False, "text"),
        ("json", {"CI": "true"}, False, "json"),
        ("json", {}, True, "json"),
        ("none", {}, False, ""),
    ],
)
def test_log_format_decides_how_the_end_of_a_run_is_logged(
    form: str, environ: dict[str, str], expected: str, *, watched: bool
) -> None:
    """Without it, people at terminals and on the pages of CI read text, and programs JSON."""
    stream = io.StringIO()
    terminal = Terminal(None, None, stream, environ)
    terminal.is_watched = watched
    made = Logs(terminal, Redactor({}), "info", form=form)

    made.report(a_run(), Outcome(command="user list", result=Result()))

    line = stream.getvalue()
    assert bool(expected) is ("run.unchanged" in line)
    assert (expected == "json") is line.startswith("{")


def test_a_process_that_serves_writes_its_log_also_if_commands_write_none() -> None:
    """It has no other output, and a crash would leave no trace."""
    stream = io.StringIO()
    terminal = Terminal(None, None, stream, {})

    Logs(terminal, Redactor({}), "info", service="web", form="none").write("started\n")

    assert "started\n" == stream.getvalue()
